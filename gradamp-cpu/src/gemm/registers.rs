//! The micro-kernel over vector registers, written once for all instruction sets: outer products.
//!
//! A tile of C is R rows of V vectors, all in registers. For each step along the summed dimension V vectors of B are
//! loaded and R elements of A broadcast.

macro_rules! micro_kernel {
    ($name:ident, $tile:ident, $feature:literal, $lanes:literal, $vector:ty, $zero:ident, $load:ident, $store:ident,
     $broadcast:ident, $fma:ident, $add:ident) => {
        fn $name<const R: usize, const V: usize>(
            left: Left,
            tiles: usize,
            depth: usize,
            a: &[f32],
            b: &[f32],
            c: &mut [f32],
            add: bool,
        ) {
            left.check([R, V * $lanes], tiles, depth, a, b, c);
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            for tile in 0..tiles {
                // SAFETY: this function leaves the module only inside a `Kernel` that was made after its instructions
                // were detected; `check` saw that every element the tiles read or write lies in its slice.
                unsafe {
                    let a = a.add(tile * left.tile(R, depth));
                    let c = c.add(tile * R * V * $lanes);
                    match left {
                        Left::Rows => $tile::<R, V, STRIDE, 1>(depth, 1, LANES, a, b, c, add),
                        Left::Steps(step) => $tile::<R, V, 1, 0>(depth, step, LANES * step, a, b, c, add),
                        Left::Lanes => $tile::<R, V, LANES, 1>(depth, 1, LANES * R, a, b, c, add),
                    }
                }
            }
        }

        /// A's element of row r at step k lies at r · ROW + k / LANES · block + k % LANES · step; STEP is 0 or what step
        /// is.
        ///
        /// # Safety
        ///
        /// The machine has the instructions; a, b and c hold the elements that [`Left::check`] asks for.
        #[target_feature(enable = $feature)]
        unsafe fn $tile<const R: usize, const V: usize, const ROW: usize, const STEP: usize>(
            depth: usize,
            step: usize,
            block: usize,
            a: *const f32,
            b: *const f32,
            c: *mut f32,
            add: bool,
        ) {
            let step = if STEP == 0 { step } else { STEP };
            let mut sums = [[$zero(); V]; R];
            let (mut a, mut b, mut left) = (a, b, depth);
            while left > 0 {
                let steps = left.min(LANES);
                for k in 0..steps {
                    // SAFETY: the step is below depth, r < R, v < V: the caller's promise.
                    unsafe {
                        let b: [$vector; V] = std::array::from_fn(|v| $load(b.add((k * V + v) * $lanes)));
                        for r in 0..R {
                            let a = $broadcast(*a.add(r * ROW + k * step));
                            for v in 0..V {
                                sums[r][v] = $fma(a, b[v], sums[r][v]);
                            }
                        }
                    }
                }
                // Beyond their slices after the last step, where nothing is read any more.
                (a, b) = (a.wrapping_add(block), b.wrapping_add(LANES * V * $lanes));
                left -= steps;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: r < R and v < V: the caller's promise.
                    unsafe {
                        let c = c.add((r * V + v) * $lanes);
                        $store(c, if add { $add($load(c), sum) } else { sum });
                    }
                }
            }
        }
    };
}
pub(super) use micro_kernel;
