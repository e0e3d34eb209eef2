//! Where to compute, chosen at run time.
//!
//! A device that is not there makes the tensor library panic in threads of its own, so every
//! device but the CPU is tried first in a process of its own.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::Context;
use burn::tensor::{Device, Tensor};
use vldm::Error;

/// A device by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceName {
    Cpu,
    /// The card of this index.
    Cuda(usize),
    /// The discrete GPU of this index, or whichever the driver prefers.
    Vulkan(Option<usize>),
    Metal,
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("expected cpu, cuda, cuda:N, vulkan, vulkan:N or metal, not \"{text}\"");
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            ("metal", None) => Ok(Self::Metal),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
            Self::Vulkan(None) => write!(f, "vulkan"),
            Self::Metal => write!(f, "metal"),
        }
    }
}

impl DeviceName {
    /// Whether it is the processor itself.
    pub(crate) fn is_cpu(self) -> bool {
        self == Self::Cpu
    }

    /// The device, known to be there.
    pub(crate) fn open(self) -> anyhow::Result<Device> {
        let device = self.device()?;
        if self != Self::Cpu {
            self.probe()?;
        }
        Ok(device)
    }

    /// The device, which may not be there.
    fn device(self) -> vldm::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(index) => Ok(Device::vulkan(match index {
                Some(index) => burn::tensor::DeviceKind::DiscreteGpu(index),
                None => burn::tensor::DeviceKind::DefaultDevice,
            })),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            other => {
                let name = other.to_string();
                let feature = name.split(':').next().unwrap_or_default();
                Err(Error::Input(format!(
                    "--device {name}: this vldm was built without it; build with `cargo build \
                     --release --features {feature}`, or use --device cpu"
                )))
            }
        }
    }

    /// Tries the device in a process of its own.
    fn probe(self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot find the vldm program itself")?;
        let answer = Command::new(program)
            .args(["probe-device", &self.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .context("cannot start a process to try the device")?;
        if answer.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&answer.stderr);
        let reason = reason.lines().next().unwrap_or("it gave no reason");
        Err(Error::Backend(format!(
            "--device {self} cannot be used: {reason}; check the driver, or use --device cpu"
        ))
        .into())
    }
}

/// Adds up eight ones on the device; ends the process at the first panic of any thread.
pub(crate) fn probe_here(name: DeviceName) -> anyhow::Result<()> {
    std::panic::set_hook(Box::new(|panic| {
        let reason = panic.payload_as_str().unwrap_or("the driver failed");
        let _ = writeln!(std::io::stderr(), "{}", reason.replace('\n', " "));
        std::process::exit(1);
    }));
    let device = name.device()?;
    let sum: f32 = Tensor::<1>::ones([8], &device).sum().into_scalar();
    anyhow::ensure!(sum == 8.0, "it adds eight ones up to {sum}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["cpu", "cuda:0", "cuda:3", "vulkan", "vulkan:1", "metal"] {
            assert_eq!(
                name.parse::<DeviceName>().map(|d| d.to_string()),
                Ok(name.into())
            );
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        for wrong in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "metal:1", "cuda:-1"] {
            assert!(wrong.parse::<DeviceName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_processor_adds_up() {
        assert!(probe_here(DeviceName::Cpu).is_ok());
    }
}
