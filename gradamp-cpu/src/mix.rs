//! Mixtures of the images of a batch, and of their labels; see [`Mix`].

use gradamp_core::geometry::Mix;

use crate::threads::Threads;

/// y = share · x + (1 − share) · partner inside the window, x outside
pub(crate) fn mix_images(threads: &Threads, g: &Mix, x: &[f32], y: &mut [f32]) {
    let [_, h, w, c] = g.images;
    threads.each(y.chunks_mut(h * w * c).enumerate(), |(i, y)| {
        let image = |i: usize| &x[i * h * w * c..][..h * w * c];
        let (own, partner) = (image(i), image(g.partner(i)));
        y.copy_from_slice(own);
        for row in g.begin[0]..g.end[0] {
            let window = (row * w + g.begin[1]) * c..(row * w + g.end[1]) * c;
            for ((y, &own), &other) in
                y[window.clone()].iter_mut().zip(&own[window.clone()]).zip(&partner[window])
            {
                *y = g.share * own + (1.0 - g.share) * other;
            }
        }
    });
}

/// The shares of the classes of mixed images.
pub(crate) fn mix_labels(threads: &Threads, g: &Mix, classes: usize, labels: &[f32], targets: &mut [f32]) {
    let share = g.label_share();
    threads.each(targets.chunks_mut(classes).enumerate(), |(i, targets)| {
        targets.fill(0.0);
        for (image, share) in [(i, share), (g.partner(i), 1.0 - share)] {
            if let Some(target) = targets.get_mut(labels[image] as usize) {
                *target += share;
            }
        }
    });
}
