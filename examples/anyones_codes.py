"""The map of anyone's codes: here, eight principal components of handwritten digits."""

import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from latent_atlas import LatentMap
from latent_atlas.sampling import draw
from latent_atlas.travel import Walk, plan

codes = torch.tensor(
    PCA(8, whiten=True, random_state=0).fit_transform(load_digits().data), dtype=torch.float32
)
generator = torch.Generator().manual_seed(0)
latent_map = LatentMap.fit(codes, steps=400, generator=generator)

print(latent_map.calibration.verdict())
print("typicality of three digits:", latent_map.typicality(codes[:3]).tolist())
print("of their mean:", latent_map.typicality(codes.mean(0, keepdim=True)).tolist())

path = plan(latent_map, codes[0], codes[1], Walk(arrive=True))
print("a path:", path.numbers())
draws = draw(latent_map, 100, generator=generator)
print("100 new codes:", draws.info.known())
