"""A whole training run in PyTorch and diffusers, to compare with `vldm train`.

The U-Net of the preset `bench-train` with three channels in and out and one token of context, eight
pictures of 16x32 from memory a step: noise, levels, forward, backward, the gradient's norm cut at 1,
fused AdamW, an average of the parameters, and the loss read back. Prints seconds a step, one line a
turn; processor time is what to compare where a machine is shared. `python train_loop.py [--threads N] [--steps N] [--turns N] [--dtype f32|bf16]`.
"""

import argparse
import statistics
import time

import diffusers
import torch


def network():
    return diffusers.UNet2DConditionModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=(96, 192, 384),
        cross_attention_dim=256,
        down_block_types=["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
    ).train()


class Run:
    def __init__(self, dtype):
        torch.manual_seed(0)
        self.dtype = dtype
        self.model = network()
        self.tokens = torch.nn.Embedding(34, 256)
        self.learning = [*self.model.parameters(), *self.tokens.parameters()]
        self.average = [parameter.detach().clone() for parameter in self.learning]
        self.optimizer = torch.optim.AdamW(self.learning, lr=1e-4, weight_decay=0.01, fused=True)
        self.schedule = diffusers.DDPMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        )
        self.clean = torch.randn(256, 3, 16, 32)
        self.labels = torch.stack([torch.randint(0, 2, (256,)), torch.randint(2, 34, (256,))], 1)
        self.steps = 0

    def step(self):
        chosen = torch.randint(0, 256, (8,))
        clean, labels = self.clean[chosen], self.labels[chosen]
        noise = torch.randn_like(clean)
        levels = torch.randint(0, 1000, (8,))
        noisy = self.schedule.add_noise(clean, noise, levels)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == "bf16"):
            context = self.tokens(labels).sum(1, keepdim=True)
            output = self.model(noisy, levels, encoder_hidden_states=context).sample
        loss = torch.nn.functional.mse_loss(output.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        decay = min(0.9999, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.learning], 1 - decay)
        return loss.item()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--turns", type=int, default=1)
    arguments.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    run = Run(arguments.dtype)
    for _ in range(3):
        run.step()
    for _ in range(arguments.turns):
        seconds = []
        computing = time.process_time()
        for _ in range(arguments.steps):
            begin = time.perf_counter()
            run.step()
            seconds.append(time.perf_counter() - begin)
        computing = (time.process_time() - computing) / arguments.steps
        median = statistics.median(seconds)
        print(f"{median:.4f} s a step (median), {computing:.4f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
