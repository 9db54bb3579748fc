//! The program gradamp: train, evaluate and measure networks with gradient amplification.
