//! Where a decimal has its point and its end: the next one of its kind nearly always has them there too.
//!
//! A frame is a chain of fields, each beginning where the one before ends. Where an end is guessed from the number before
//! and only compared, the processor goes on with the next field at once instead of waiting for it; a wrong guess costs
//! about what waiting would.

use crate::lanes::{WINDOW, Window, digit_mask, padded};

/// The shape of a decimal of 1 to 8 digits on each side of the point; none fits the default one.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The bits of the bytes up to and with the one behind the number.
    up_to: u32,
    /// Those of them that are no digits.
    others: u32,
    point: u8,
    len: u8,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { up_to: 0, others: 1, point: 0, len: 0 }
    }
}

impl Shape {
    /// The shape of the number `text` begins with; of what is no such number, the default.
    #[inline(never)]
    pub(crate) fn of(text: &[u8]) -> Shape {
        let window = text.first_chunk().copied().unwrap_or_else(|| padded(text));
        let others = !digit_mask(&window);
        let point = others.trailing_zeros() as usize;
        if point == 0 || point > 8 {
            return Shape::default();
        }
        let end = (others & (others - 1)).trailing_zeros() as usize;
        let len = if window[point] == b'.' { end } else { point };
        let decimals = len.saturating_sub(point + 1);
        if len >= WINDOW || decimals > 8 || len == point + 1 {
            return Shape::default();
        }
        let others = 1 << point | 1 << len;
        Shape { up_to: u32::MAX >> (WINDOW - 1 - len), others, point: point as u8, len: len as u8 }
    }

    /// Whether the number at the start of the window has its point and its end there.
    #[inline(always)]
    pub(crate) fn fits(&self, window: &Window) -> bool {
        let pointed = window[self.point()] == b'.';
        !digit_mask(window) & self.up_to == self.others && pointed == (self.point < self.len)
    }

    #[inline(always)]
    pub(crate) fn point(&self) -> usize {
        usize::from(self.point & 15)
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len & 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cursor, fixed};
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,10})?([eE][+-]?[0-9])?",
            "[0-9]{1,6}\\.[0-9]{1,4}",
            "[0-9.\"e-]{1,12}",
        ]
    }

    proptest! {
        /// Whatever stood before, the same numbers are read to the same values, and the same refused.
        #[test]
        fn a_shape_is_only_a_guess(
            texts in prop::collection::vec(number(), 1..20), scale in 0u8..=18, tail in 0usize..40,
        ) {
            let (mut shape, mut passed) = (Shape::default(), Shape::default());
            for text in texts {
                let text = format!("{text}\"{}", " ".repeat(tail));
                let (mut like, mut plain) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
                prop_assert_eq!(like.fixed_like(scale, &mut shape), plain.fixed(scale));
                prop_assert_eq!(like.offset(), plain.offset());
                prop_assert_eq!(plain.offset() > 0, fixed(text.as_bytes(), scale).is_ok());
                let (mut like, mut plain) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
                prop_assert_eq!(like.pass_like(&mut passed), plain.until_quote().map(drop));
                prop_assert_eq!(like.offset(), plain.offset());
            }
        }

        #[test]
        fn a_count_of_digits_is_only_a_guess(
            texts in prop::collection::vec("(0|[1-9][0-9]{0,19}|[0-9]{1,3}|x)", 1..20), tail in 0usize..40,
        ) {
            let mut digits = 0;
            for text in texts {
                let text = format!("{text},{}", " ".repeat(tail));
                let (mut like, mut plain) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
                prop_assert_eq!(like.u64_like(&mut digits), plain.u64());
                prop_assert_eq!(like.offset(), plain.offset());
            }
        }

        #[test]
        fn a_likely_length_is_only_a_guess(text in "[ -~é\\\\\"]{0,60}|[a-f0-9-]{36}\"[ -~]{0,9}") {
            let (mut like, mut plain) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
            prop_assert_eq!(like.until_quote_likely::<36>(), plain.until_quote());
            prop_assert_eq!(like.offset(), plain.offset());
            let (mut like, mut plain) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
            prop_assert_eq!(like.until_quote_likely::<16>(), plain.until_quote());
            prop_assert_eq!(like.offset(), plain.offset());
        }
    }
}
