"""Settings of `--quick`, and of the preset `faces`, when the models of several tables were trained."""

__all__ = ["EARLIER"]

EARLIER = [
    "model.patch_size=1",
    "model.encoder_patch_size=null",
    "model.width=16",
    "train.batch_size=64",
    "train.reconstruction=l2",
    "train.kl_weight=2e-4",
    "train.kl_warmup=400",
    "train.adversarial_start=400",
    "train.adversarial_weight=0.0017",
    "train.feature_matching=0",
]
