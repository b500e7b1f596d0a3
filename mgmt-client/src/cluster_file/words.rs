//! Words in one text, as Python's `shlex.split` takes it apart.

/// The words of a text.
///
/// # Errors
///
/// What is missing at its end.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut characters, word.get_or_insert_default())?,
            '\\' => {
                let escaped = characters
                    .next()
                    .ok_or("a backslash at the end escapes nothing")?;
                word.get_or_insert_default().push(escaped);
            }
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads to the end of the quotation. A backslash escapes the quotation mark and itself between double ones.
fn quoted(quote: char, characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const OPEN: &str = "a quotation mark is not closed";
    loop {
        match characters.next().ok_or(OPEN)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let escaped = characters.next().ok_or(OPEN)?;
                if !matches!(escaped, '"' | '\\') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            plain => word.push(plain),
        }
    }
}

/// A word that [`split`] gives back, in double quotes if it has to be.
pub(super) fn written(word: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !"'\"\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's `shlex.split` gives for each.
    #[test]
    fn words_are_those_that_python_finds() {
        for (text, words) in [
            ("", &[][..]),
            ("  a\tb\n c ", &["a", "b", "c"]),
            (
                "foo=bar=baz blum=\"foo bar baz\"",
                &["foo=bar=baz", "blum=foo bar baz"],
            ),
            (
                r#"a'b "c'"d\"e\f" '\' "" x\ y # z"#,
                &[r#"ab "cd"e\f"#, r"\", "", "x y", "#", "z"],
            ),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["'a", "\"a\\", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for word in ["a", "", "a b", r#"{"a": 'b'}"#, r"a\b", "\n", "#a"] {
            assert_eq!(split(&written(word)), Ok(vec![word.to_owned()]), "{word}");
        }
        assert_eq!(written("local.zeek"), "local.zeek");
        assert_eq!(written("a b"), "\"a b\"");
    }
}
