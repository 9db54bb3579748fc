//! CIFAR-10, CIFAR-100 and generated shapes: readers, augmentation, batches.
