//! Decodes one PNG or JPEG.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::{Error, Result};

/// The largest height and width of an image.
const MAX_SIDE: u32 = 1 << 14;
/// The most bytes that decoding one image may take.
const MAX_BYTES: u64 = 1 << 30;

/// A decoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// The height and the width.
    pub size: [usize; 2],
    /// Whether the file stores one channel of grey.
    pub is_grey: bool,
    /// The pixels, `[h, w, 3]`.
    pub rgb: Vec<u8>,
}

/// Decodes a PNG or a JPEG to red, green and blue. Transparency is dropped, and 16 bits are rounded to 8. `file` is
/// the image's name in errors.
///
/// **Errors:** the bytes are no PNG or JPEG; the image is damaged, or larger than 16384 pixels in a direction.
pub fn decode(file: &str, bytes: &[u8]) -> Result<Pixels> {
    let fault = |message: String| Error::Image { file: file.to_owned(), message };
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let format = image::guess_format(bytes).ok();
    let Some(format) = format.filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg)) else {
        let found = match format {
            Some(format) => format!("{format:?}"),
            None => format!("bytes {:02x?}", &bytes[..bytes.len().min(4)]),
        };
        return Err(fault(format!("expected a PNG or a JPEG, found {found}")));
    };
    reader.set_format(format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let broken = |error: image::ImageError| fault(format!("cannot be decoded: {error}"));
    let decoder = reader.into_decoder().map_err(broken)?;
    let (w, h) = decoder.dimensions();
    let is_grey =
        matches!(decoder.color_type(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16);
    if w == 0 || h == 0 {
        return Err(fault(format!("expected pixels, found an image of {h}x{w}")));
    }
    let image = image::DynamicImage::from_decoder(decoder).map_err(broken)?;
    Ok(Pixels { size: [h as usize, w as usize], is_grey, rgb: image.into_rgb8().into_raw() })
}

/// The error for images that do not fit into memory.
pub(crate) fn memory(what: String, bytes: usize) -> Error {
    Error::Memory { what, bytes, advice: "fewer or smaller images fit".into(), field: None }
}
