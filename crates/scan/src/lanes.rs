//! The few operations that look at many bytes at once: which bytes are digits, where a plain string ends, eight digits
//! to a number. Everything above is ordinary code over these.
//!
//! x86_64 always has SSE2, so it is used without detection; wider sets were not worth it, as venue numbers and symbols
//! fit 32 bytes and a run-time check per number costs what it saves. The portable twins are compiled on every other
//! target and in tests, which hold them equal.

/// Bytes looked at together. A number as venues write it, with the byte after it, fits.
pub(crate) const WINDOW: usize = 32;
pub(crate) type Window = [u8; WINDOW];

/// Bit `i` is set when byte `i` is an ASCII digit.
#[inline(always)]
pub(crate) fn digit_mask(window: &Window) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return sse2::digit_mask(window);
    #[cfg(not(target_arch = "x86_64"))]
    return portable::digit_mask(window);
}

/// Length of the leading run that may stand in a JSON string as itself and is ASCII: no quote, backslash, control byte
/// or byte above 0x7f.
#[inline(always)]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
        let special = special_mask(chunk);
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize;
        }
        rest = after;
    }
    if let Some((word, after)) = rest.split_first_chunk() {
        let special = special_bits(u64::from_le_bytes(*word));
        if special != 0 {
            return bytes.len() - rest.len() + (special.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|&&byte| is_plain(byte)).count()
}

/// Whether the first `N` bytes, at least 16, are plain as [`plain_len`] means it.
#[inline(always)]
pub(crate) fn starts_plain<const N: usize>(bytes: &[u8]) -> bool {
    const { assert!(N >= 16 && N <= 48) };
    let Some(text) = bytes.first_chunk::<N>() else { return false };
    // Chunks that overlap as the length needs: none waits for another.
    let special = |at: usize| text[at..].first_chunk().map_or(u32::MAX, special_mask);
    special(0) | special((N - 16) / 2) | special(N - 16) == 0
}

#[inline(always)]
fn special_mask(chunk: &[u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return sse2::special_mask(chunk);
    #[cfg(not(target_arch = "x86_64"))]
    return portable::special_mask(chunk);
}

/// The lowest bit set is the top bit of the first byte that is not plain; bits above it mean nothing, as borrows reach
/// them.
#[inline(always)]
fn special_bits(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, least: u64| word.wrapping_sub(least * ONES) & !word;
    let equal = |byte: u8| below(word ^ (u64::from(byte) * ONES), 1);
    (word | below(word, 0x20) | equal(b'"') | equal(b'\\')) & (0x80 * ONES)
}

#[inline(always)]
pub(crate) fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\'
}

/// The eight bytes from `at`, the first in the lowest byte.
#[inline(always)]
pub(crate) fn load(window: &Window, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&window[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The eight bytes from `at`, the first in the lowest byte; zero bytes where the text ends before.
#[inline(always)]
pub(crate) fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    match text.last_chunk() {
        // The last eight bytes of the text, of which only those from `at` on are wanted.
        Some(word) => (u128::from(u64::from_le_bytes(*word)) >> (64 - 8 * rest.len())) as u64,
        None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// The window over `text`, padded with zero bytes where the text is shorter.
#[inline]
pub(crate) fn padded(text: &[u8]) -> Window {
    let mut window = [0; WINDOW];
    let len = text.len().min(WINDOW);
    // Two copies of a fixed size that overlap: one of any size is a call, which costs more than reading the number.
    copy_ends::<16>(&mut window, &text[..len])
        .or_else(|| copy_ends::<8>(&mut window, &text[..len]))
        .unwrap_or_else(|| window[..len].iter_mut().zip(text).for_each(|(to, from)| *to = *from));
    window
}

/// Copies a text of `N` to `2 * N` bytes; `None` for any other.
#[inline(always)]
fn copy_ends<const N: usize>(window: &mut Window, text: &[u8]) -> Option<()> {
    let (first, last) = (text.first_chunk::<N>()?, text.last_chunk::<N>()?);
    if text.len() > 2 * N {
        return None;
    }
    *window[..text.len()].first_chunk_mut()? = *first;
    *window[..text.len()].last_chunk_mut()? = *last;
    Some(())
}

/// Keeps the first `count` bytes of a word, 1..=8.
#[inline(always)]
pub(crate) fn keep_first(word: u64, count: usize) -> u64 {
    word & (u64::MAX >> (64 - 8 * count))
}

/// Moves the first `count` bytes (1..=8) to the end of the word, zero bytes before them: leading zeros for [`eight_digits`].
#[inline(always)]
pub(crate) fn align_right(word: u64, count: usize) -> u64 {
    word << (64 - 8 * count)
}

/// Eight digits, the most significant in the lowest byte, as ASCII or as zero bytes. Three multiplies: pairs, fours, all.
#[inline(always)]
pub(crate) fn eight_digits(word: u64) -> u64 {
    let pairs = ((word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 * 256 + 1)) >> 8;
    let fours = ((pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 * 65_536 + 1)) >> 16;
    ((fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 * (1 << 32) + 1)) >> 32
}

/// [`eight_digits`] of two words at once.
#[inline(always)]
pub(crate) fn eight_digits_twice(first: u64, second: u64) -> (u64, u64) {
    #[cfg(target_arch = "x86_64")]
    return sse2::eight_digits_twice(first, second);
    #[cfg(not(target_arch = "x86_64"))]
    return (eight_digits(first), eight_digits(second));
}

/// The first `count` (1..=16) bytes of the window, all digits, as a number.
#[inline(always)]
pub(crate) fn sixteen_digits(window: &Window, count: usize) -> u64 {
    if count <= 8 {
        return eight_digits(align_right(load(window, 0), count));
    }
    let (high, low) = eight_digits_twice(align_right(load(window, 0), count - 8), load(window, count - 8));
    high * 100_000_000 + low
}

/// How many leading bytes of the word are ASCII digits, 0..=8.
#[inline(always)]
pub(crate) fn digits_leading(word: u64) -> usize {
    (non_digit_bits(word).trailing_zeros() / 8) as usize
}

/// The top bit of each byte that is not an ASCII digit. Exact: no carry leaves its byte.
#[inline(always)]
fn non_digit_bits(word: u64) -> u64 {
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let values = word ^ 0x3030_3030_3030_3030;
    (((values & LOW_SEVEN) + 0x7676_7676_7676_7676) | values) & !LOW_SEVEN
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi16, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi128_si64, _mm_loadu_si128,
        _mm_madd_epi16, _mm_min_epu8, _mm_movemask_epi8, _mm_mullo_epi16, _mm_or_si128, _mm_packs_epi32,
        _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi16, _mm_set1_epi32, _mm_srli_epi16, _mm_sub_epi8,
    };

    use super::Window;

    #[inline(always)]
    fn load(chunk: &[u8; 16]) -> __m128i {
        // SAFETY: the reference covers the 16 bytes read, the load needs no alignment, and any bytes are a valid
        // `__m128i`. SSE2 is part of every x86_64.
        unsafe { _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>()) }
    }

    #[inline(always)]
    pub(super) fn digit_mask(window: &Window) -> u32 {
        let (halves, _) = window.as_chunks::<16>();
        half(&halves[0]) | (half(&halves[1]) << 16)
    }

    #[inline(always)]
    fn half(chunk: &[u8; 16]) -> u32 {
        // SAFETY: SSE2 is part of every x86_64; these touch registers only.
        unsafe {
            let values = _mm_sub_epi8(load(chunk), _mm_set1_epi8(b'0' as i8));
            let digits = _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values);
            _mm_movemask_epi8(digits) as u32
        }
    }

    #[inline(always)]
    pub(super) fn eight_digits_twice(first: u64, second: u64) -> (u64, u64) {
        // SAFETY: SSE2 is part of every x86_64; these touch registers only.
        unsafe {
            let both = _mm_set_epi64x(second.cast_signed(), first.cast_signed());
            let digits = _mm_and_si128(both, _mm_set1_epi8(0x0f));
            // Tens are the low bytes of 16-bit lanes, units the high ones.
            let tens = _mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(0xff)), _mm_set1_epi16(10));
            let pairs = _mm_add_epi16(tens, _mm_srli_epi16::<8>(digits));
            let fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 << 16 | 100));
            // At most 9999, so packing to signed 16 bits loses nothing.
            let packed = _mm_packs_epi32(fours, fours);
            let eights = _mm_madd_epi16(packed, _mm_set1_epi32(1 << 16 | 10_000));
            let eights = _mm_cvtsi128_si64(eights).cast_unsigned();
            (eights & 0xffff_ffff, eights >> 32)
        }
    }

    #[inline(always)]
    pub(super) fn special_mask(chunk: &[u8; 16]) -> u32 {
        // SAFETY: SSE2 is part of every x86_64; these touch registers only.
        unsafe {
            let bytes = load(chunk);
            // As signed bytes, control characters and everything above 0x7f are both below a space.
            let outside = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            _mm_movemask_epi8(_mm_or_si128(outside, _mm_or_si128(quote, backslash))) as u32
        }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::{Window, is_plain, load, non_digit_bits};

    pub(super) fn digit_mask(window: &Window) -> u32 {
        (0..4).fold(0, |mask, word| mask | (gather(!non_digit_bits(load(window, word * 8))) << (word * 8)))
    }

    /// The top bit of each byte, gathered into the low eight bits.
    fn gather(word: u64) -> u32 {
        (((word >> 7) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }

    pub(super) fn special_mask(chunk: &[u8; 16]) -> u32 {
        chunk.iter().enumerate().fold(0, |mask, (index, &byte)| mask | (u32::from(!is_plain(byte)) << index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_in_every_lane_is_classed_alike_by_both() {
        for byte in 0..=255u8 {
            for lane in 0..WINDOW {
                let mut window = [b'5'; WINDOW];
                window[lane] = byte;
                let expected = !(u32::from(!byte.is_ascii_digit()) << lane);
                assert_eq!(digit_mask(&window), expected, "byte {byte:#x} in lane {lane}");
                assert_eq!(portable::digit_mask(&window), expected, "byte {byte:#x} in lane {lane}");
            }
            for lane in 0..16 {
                let mut chunk = [b'x'; 16];
                chunk[lane] = byte;
                let expected = u32::from(!(0x20..0x80).contains(&byte) || byte == b'"' || byte == b'\\') << lane;
                assert_eq!(special_mask(&chunk), expected, "byte {byte:#x} in lane {lane}");
                assert_eq!(portable::special_mask(&chunk), expected, "byte {byte:#x} in lane {lane}");
            }
        }
    }

    proptest! {
        #[test]
        fn masks_agree_on_any_bytes(window: [u8; WINDOW]) {
            prop_assert_eq!(digit_mask(&window), portable::digit_mask(&window));
            let (halves, _) = window.as_chunks::<16>();
            prop_assert_eq!(special_mask(&halves[0]), portable::special_mask(&halves[0]));
            let leading = window[..8].iter().take_while(|byte| byte.is_ascii_digit()).count();
            prop_assert_eq!(digits_leading(load(&window, 0)), leading);
        }

        #[test]
        fn plain_len_is_the_first_special_byte(text in "[ -~é\\\\\"\\n]{0,70}") {
            let expected = text.bytes().take_while(|&byte| is_plain(byte)).count();
            prop_assert_eq!(plain_len(text.as_bytes()), expected);
        }

        #[test]
        fn short_texts_are_padded_with_zeros(text in prop::collection::vec(any::<u8>(), 0..40), at in 0usize..45) {
            let mut expected = text.clone();
            expected.resize(64, 0);
            let word = word_at(&text, at).to_le_bytes();
            prop_assert_eq!(&word[..], &expected[at..at + 8]);
            let window = padded(&text);
            prop_assert_eq!(window.as_slice(), &expected[..WINDOW]);
        }

        #[test]
        fn eight_digits_reads_padded_numbers(value in 0u64..100_000_000) {
            let window = padded(format!("{value:08}").as_bytes());
            prop_assert_eq!(eight_digits(load(&window, 0)), value);
            let other = align_right(load(&window, 0), 5);
            prop_assert_eq!(eight_digits_twice(load(&window, 0), other), (value, eight_digits(other)));
            prop_assert_eq!(eight_digits_twice(other, load(&window, 0)), (eight_digits(other), value));
        }
    }
}
