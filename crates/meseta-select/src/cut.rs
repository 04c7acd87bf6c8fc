//! A long text cut in its middle: people say what it is about first, and what they want of it last.

use std::borrow::Cow;

const ELLIPSIS: &str = "…";

/// At most `most` bytes of a text: three fifths of them from its beginning, the rest from its end, and an ellipsis between.
/// Where not even the ellipsis has room, the beginning alone.
pub(crate) fn middle(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let Some(room) = most.checked_sub(ELLIPSIS.len()).filter(|room| *room > 0) else {
        return Cow::Borrowed(head(text, most));
    };
    let head = head(text, room * 3 / 5);
    // Never before the head's end: the two together are no longer than `room`, and the text is longer.
    let mut from = text.len() - (room - head.len());
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let tail = text.get(from..).unwrap_or_default();
    Cow::Owned([head, ELLIPSIS, tail].concat())
}

fn head(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_three_fifths_of_the_beginning() {
        assert_eq!(middle("hello", 5), "hello");
        assert_eq!(middle("abcdefghijklmnopqrst", 13), "abcdef…qrst");
        assert_eq!(middle("given the image In style of Andy Warhol", 12), "given…rhol");
        assert_eq!(middle("abcdefgh", 2), "ab");
        assert_eq!(middle("abcdefgh", 3), "abc");
        assert_eq!(middle("ééé", 3), "é");
    }

    proptest! {
        #[test]
        fn never_longer_than_asked(text in ".{0,80}", most in 0_usize..200) {
            let cut = middle(&text, most);
            prop_assert!(cut.len() <= most);
            prop_assert_eq!(matches!(cut, Cow::Borrowed(same) if same == text), text.len() <= most);
        }
    }
}
