//! Lets plain loops use the widest instructions of the machine they run on, where they were built for any machine.
//! [`Work`] -> [`widened`] -> the same work, compiled a second time for wider vectors.
//!
//! A program that runs everywhere is built for what every x86-64 has, where a comparison of two 64-bit integers takes
//! several instructions; nearly all machines compare four pairs at once. Asking which one this is costs a look at a word.

/// Something to do whose loops profit from wide vectors.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it. To be `#[inline(always)]`, as all that it calls: what is not inlined stays as narrow as it was.
    fn run(self) -> Self::Output;
}

/// Does the work, compiled for AVX2 where the machine has it. What comes of it is the same either way.
#[inline(always)]
pub fn widened<W: Work>(work: W) -> W::Output {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has what the function was compiled for.
        return unsafe { with_avx2(work) };
    }
    work.run()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Extremes<'a>(&'a [i64]);

    impl Work for Extremes<'_> {
        type Output = (i64, i64, i64);

        #[inline(always)]
        fn run(self) -> (i64, i64, i64) {
            let start = (i64::MAX, i64::MIN, 0);
            self.0.iter().fold(start, |(least, most, sum), v| (least.min(*v), most.max(*v), sum + v))
        }
    }

    #[test]
    fn the_same_comes_of_it_with_other_instructions() {
        let values: Vec<i64> = (0..1000).map(|n| (n * 7919) % 1009 - 500).collect();
        assert_eq!(widened(Extremes(&values)), Extremes(&values).run());
    }
}
