use gradamp_data::{Dataset, DatasetPair, Normalisation, Origin, Result};

const SIDE: usize = 16;
const CLASSES: [&str; 4] = ["horizontal", "vertical", "rising", "falling"];

/// The data set `stripes`: images of stripes in four directions, which are the classes. The images are generated and
/// are the same at each call.
pub fn stripes() -> Result<DatasetPair> {
    Ok(DatasetPair { train: set(256, 0)?, test: set(64, 1)?, origin: Origin::Generated })
}

fn set(images: usize, seed: usize) -> Result<Dataset> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for image in 0..images {
        let label = image % CLASSES.len();
        // The period and phase of the stripes vary; all combinations occur.
        let (period, phase) = (3 + (image / 4) % 4, (7 * image + 3 * seed) % 11);
        for (row, column) in (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column))) {
            let along = match label {
                0 => row,
                1 => column,
                2 => row + column,
                _ => row + SIDE - column,
            };
            let is_bright = (along + phase) % (2 * period) < period;
            pixels.extend(if is_bright { [220, 200, 180] } else { [30, 40, 60] });
        }
        labels.push(label as u32);
    }
    let normalisation = Normalisation { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let classes = CLASSES.map(str::to_owned).to_vec();
    Dataset::new("stripes", [SIDE, SIDE, 3], pixels, labels, classes, normalisation)
}
