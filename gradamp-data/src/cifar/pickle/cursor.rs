//! Reads the bytes of a pickle.

use super::value::Refusal;

/// A position in a file. Reading past the end of the file is an error.
pub(super) struct Cursor<'a> {
    file: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(file: &'a [u8]) -> Self {
        Self { file, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    /// The number of bytes in the whole file.
    pub fn len(&self) -> usize {
        self.file.len()
    }

    pub fn read(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let rest = &self.file[self.position..];
        match rest.get(..length) {
            Some(bytes) => {
                self.position += length;
                Ok(bytes)
            }
            None => Err(Refusal::new(
                self.position,
                format!("{length} more bytes"),
                format!("the end of the file after {} bytes", self.file.len()),
            )),
        }
    }

    pub fn byte(&mut self) -> Result<u8, Refusal> {
        self.read(1).map(|bytes| bytes[0])
    }

    /// Reads an unsigned number of `width` bytes, lowest byte first.
    pub fn size(&mut self, width: usize) -> Result<usize, Refusal> {
        let number = self.read(width)?.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        // If usize is narrower than the number, the file can't be that long, and `read` refuses the length.
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Reads a byte that holds a count, then a signed number of that many bytes, at most 8.
    pub fn long(&mut self) -> Result<i64, Refusal> {
        let start = self.position;
        let width = usize::from(self.byte()?);
        if width > 8 {
            return Err(Refusal::new(start, "a number of at most 8 bytes", format!("{width} bytes")));
        }
        let bytes = self.read(width)?;
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
        Ok(bytes.iter().rev().fold(fill, |n, &byte| n << 8 | i64::from(byte)))
    }

    /// Reads text up to the end of the line. Each byte is one Latin-1 character, except for two escapes: `\u` with
    /// four hexadecimal digits and `\U` with eight stand for the Unicode character of that number.
    pub fn escaped_text(&mut self) -> Result<String, Refusal> {
        let start = self.position;
        let rest = &self.file[start..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(Refusal::new(start, "the end of a line after a text", "the end of the file"));
        };
        self.position += length + 1;
        let mut line = &rest[..length];
        let mut text = String::with_capacity(length);
        while let Some((&byte, behind)) = line.split_first() {
            line = behind;
            let digits = match (byte, line.first()) {
                (b'\\', Some(b'u')) => 4,
                (b'\\', Some(b'U')) => 8,
                _ => {
                    text.push(char::from(byte));
                    continue;
                }
            };
            let code = line.get(1..=digits).and_then(|digits| std::str::from_utf8(digits).ok());
            match code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32) {
                Some(character) => text.push(character),
                None => {
                    return Err(Refusal::new(start, "characters", "an escape that stands for no character"));
                }
            }
            line = &line[digits + 1..];
        }
        Ok(text)
    }

    /// Reads ASCII text up to the end of the line.
    pub fn line(&mut self) -> Result<&'a str, Refusal> {
        let start = self.position;
        let rest = &self.file[start..];
        let length = rest.iter().take(100).position(|&byte| byte == b'\n');
        match length.and_then(|length| std::str::from_utf8(&rest[..length]).ok()) {
            Some(text) => {
                self.position += text.len() + 1;
                Ok(text)
            }
            None => {
                Err(Refusal::new(start, "a name of at most 100 letters and the end of a line", "other bytes"))
            }
        }
    }
}
