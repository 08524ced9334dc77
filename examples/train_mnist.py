"""A training script as PyTorch's own MNIST example has it, on digits drawn at random: nothing is downloaded.

It knows nothing of rtxbench: `rtxbench trace -- python examples/train_mnist.py --epochs 2`.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Two convolutions and two dense layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        """(batch, 1, 28, 28) images → (batch, 10) log-probabilities."""
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def digits(count, seed):
    """Blurred bars whose place tells the digit, with noise: learnt in an epoch, as MNIST is."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=random)
    images = 0.3 * torch.randn(count, 1, 28, 28, generator=random)
    for digit in range(10):
        images[labels == digit, :, 2 * digit + 4 : 2 * digit + 7, 4:24] += 1.0
    return TensorDataset(images, labels)


def train(model, device, loader, optimizer, epoch, log_interval):
    """One epoch."""
    model.train()
    for number, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if number % log_interval == 0:
            print(f"Train Epoch: {epoch} [{number * len(data)}/{len(loader.dataset)}]\tLoss: {loss.item():.6f}")


def test(model, device, loader):
    """Accuracy on the test set."""
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            correct += (model(data.to(device)).argmax(dim=1) == target.to(device)).sum().item()
    print(f"Test set: Accuracy: {correct}/{len(loader.dataset)} ({100.0 * correct / len(loader.dataset):.0f}%)")


def main():
    """Train and test, an epoch at a time."""
    parser = argparse.ArgumentParser(description="PyTorch MNIST Example")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=10)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(digits(args.examples, 0), batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(digits(args.examples // 6, 1), batch_size=1000)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(model, device, train_loader, optimizer, epoch, args.log_interval)
        test(model, device, test_loader)
        scheduler.step()


if __name__ == "__main__":
    main()
