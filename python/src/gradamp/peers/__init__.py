"""PyTorch's side of the comparisons in docs/: exact steps, the time of a step, and training on CIFAR-10.

python -m gradamp.peers.exact    writes the fixtures that gradamp's gradients and optimizers are compared with
python -m gradamp.peers.step     times training steps
python -m gradamp.peers.train    trains the plain recipe and prints the test accuracy of each epoch
"""
