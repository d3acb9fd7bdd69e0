"""Time to fit a map to 60,000 codes of 16 dimensions, and to compute all its fields at 256 x 256 codes.

Claim: on 2 CPU cores a fit takes at most three minutes and the fields half a second; on a GPU a fit takes 20 seconds.

python benchmarks/map_cost.py                    # about three minutes on 2 CPU cores
python benchmarks/map_cost.py --device cuda
"""

import argparse
import statistics
import time

import torch

from latent_atlas import LatentMap
from latent_atlas.config import MapConfig
from latent_atlas.density.toys import clusters
from latent_atlas.geometry.planes import Window, chart, plane_through
from record import record

DIMENSION, CODES = 16, 60_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=MapConfig().steps)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    world = clusters(DIMENSION, generator=torch.Generator().manual_seed(DIMENSION))
    codes = world.sample(CODES, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator(given.device).manual_seed(0)
    start, used = time.perf_counter(), time.process_time()
    latent_map = LatentMap.fit(codes, config=MapConfig(steps=given.steps), generator=generator)
    fitting, used = time.perf_counter() - start, time.process_time() - used
    plane = plane_through(*codes[:3].to(given.device))
    drawing = []
    for _ in range(given.repeats + 1):
        start = time.perf_counter()
        fields = chart(latent_map, plane, Window(-3.0, 3.0, -3.0, 3.0), resolution=256).fields
        float(fields["log_prob"].sum())  # waits for the device
        drawing.append(time.perf_counter() - start)
    results = {
        "seconds to fit": fitting,
        "core seconds to fit": used,
        "seconds for a 256 x 256 chart, median": statistics.median(drawing[1:]),
        "fields": list(fields),
        "verdict": latent_map.calibration.verdict(),
    }
    record(
        "map_cost",
        results,
        codes=CODES,
        dimension=DIMENSION,
        steps=given.steps,
        device=given.device,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
