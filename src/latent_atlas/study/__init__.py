"""The ablation study: training modes x boundaries x kinds of real codes x seeds.

Besides, it compares D_z with a discriminator of images, and measures D_z on codes that move away
from the data. Everything is compared by paired tests over repetitions.
"""
