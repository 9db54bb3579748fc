//! VGG and ResNet for CIFAR, with PyTorch's names, initialisation and safetensors layouts.
