//! Products of polynomials over two values, which is what checksums are made of.
//! pairs of 32-bit numbers -> [`carryless_sum`] -> their products without carries, xored together.
//!
//! Moving a CRC over bytes that follow is such a product. Processors multiply so in a few cycles, and products can be
//! added before they are reduced, so that many parts of a text cost hardly more than one.

/// The products of `a[n]` and `b[n]` without carries, all xored: bit `i` of one and bit `j` of the other give bit `i + j`.
///
/// # Panics
/// When there are not as many of both.
#[inline]
pub fn carryless_sum(a: &[u32], b: &[u32]) -> u64 {
    assert_eq!(a.len(), b.len(), "numbers are multiplied in pairs");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the machine has what the function was compiled for.
        return unsafe { x86::carryless_sum(a, b) };
    }
    portable(a, b)
}

fn portable(a: &[u32], b: &[u32]) -> u64 {
    let product = |(a, b): (&u32, &u32)| {
        (0..u32::BITS).fold(0, |sum, bit| sum ^ (u64::from(*a) << bit) * u64::from(b >> bit & 1))
    };
    a.iter().zip(b).map(product).fold(0, |sum, product| sum ^ product)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cvtsi32_si128, _mm_cvtsi128_si64, _mm_setzero_si128, _mm_xor_si128,
    };

    #[target_feature(enable = "pclmulqdq")]
    pub(super) fn carryless_sum(a: &[u32], b: &[u32]) -> u64 {
        let mut sum = _mm_setzero_si128();
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (_mm_cvtsi32_si128(*a as i32), _mm_cvtsi32_si128(*b as i32));
            sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0>(a, b));
        }
        _mm_cvtsi128_si64(sum) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn products_have_no_carries() {
        // (x + 1)^2 = x^2 + 1, and the highest bits of all.
        assert_eq!(carryless_sum(&[3], &[3]), 5);
        assert_eq!(carryless_sum(&[1 << 31, 1], &[1 << 31, 7]), 1 << 62 | 7);
        assert_eq!(carryless_sum(&[], &[]), 0);
    }

    proptest! {
        #[test]
        fn the_machine_multiplies_as_bits_are_added(a in any::<[u32; 10]>(), b in any::<[u32; 10]>()) {
            prop_assert_eq!(carryless_sum(&a, &b), portable(&a, &b));
        }
    }
}
