"""Uploaded images, decoded in another process within bounds of time and memory."""

import io
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import cast

import torch
from PIL import Image

from latent_atlas.data.decode import Square, open_image, quiet
from latent_atlas.errors import UserError
from latent_atlas.explorer.server.limits import Limits
from latent_atlas.shapes import Images

__all__ = ["FORMATS", "Decoder", "decode_upload"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""The formats that are taken; a kilobyte of JPEG 2000 can keep a decoder busy for many seconds."""

READ = 4  # times its own length that a file may be read before it is decoded
NICE = 10  # added to the niceness of the process, so that answers come before images
PIXELS, SENTENCE = b"+", b"-"  # the first byte of what the process answers


class Decoder:
    """A process that decodes images, one at a time.

    A decoder written in C can crash, hang, and hold a gigabyte. In a process of its own it harms
    nobody else: the process is killed, and the next image gets another.
    """

    def __init__(self) -> None:
        """The process starts with its first image."""
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> Connection:
        """The pipe to the process, which is started unless it runs; that takes some seconds."""
        if self._pipe is None or self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            pipes = cast("tuple[Connection, Connection]", context.Pipe())  # not so on Windows
            self._pipe, theirs = pipes
            self._process = context.Process(target=_decode_all, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe

    def decode(self, content: bytes, square: Square, limits: Limits) -> Images:
        """`decode_upload` in the process.

        Raises:
            UserError: as there; or decoding crashes, or takes longer than `limits.seconds`.
        """
        try:
            pipe = self.start()
            pipe.send((content, square, limits))
            if not pipe.poll(limits.seconds):
                self.close()
                raise UserError(
                    f"decoding took longer than {limits.seconds:g} seconds; give a smaller image"
                )
            answer = pipe.recv_bytes()
        except (EOFError, OSError):
            self.close()
            raise UserError("decoding crashed; give another file") from None
        if answer[:1] == SENTENCE:
            raise UserError(answer[1:].decode())
        pixels = torch.frombuffer(bytearray(answer[1:]), dtype=torch.float32)
        return pixels.view(1, square.channels, square.size, square.size)

    def close(self) -> None:
        """Kill the process, also in the middle of an image."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _decode_all(pipe: Connection) -> None:
    """Decode what arrives until the server has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    if hasattr(os, "nice"):
        os.nice(NICE)
    while True:
        try:
            content, square, limits = pipe.recv()
        except EOFError:
            return
        try:
            answer = PIXELS + decode_upload(content, square, limits).numpy().tobytes()
        except UserError as error:
            answer = SENTENCE + str(error).encode()
        pipe.send_bytes(answer)


def decode_upload(content: bytes, square: Square, limits: Limits) -> Images:
    """Decode an uploaded file, once its head has shown that this is cheap.

    Arguments:
        content: The file.
        square: What the image becomes.
        limits: Bounds of its pixels.

    Returns:
        Shape (1, channels, size, size), in [0, 1].

    Raises:
        UserError: it is no image, of another format, too large, or damaged.
    """
    _check_head(content, limits)
    return open_image(content, square)


def _check_head(content: bytes, limits: Limits) -> None:
    """Refuse an image that is large, or of another format, before it is decoded."""
    try:
        if content[4:8] == b"ftyp":  # AVIF or HEIC, whatever its first bytes are
            raise Image.UnidentifiedImageError
        with quiet():
            image = Image.open(_Watched(content), formats=FORMATS)
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(
            f"the image has more than {limits.pixels:,} pixels; give a smaller one"
        ) from None
    except Exception:  # on damaged files Pillow raises almost anything
        raise UserError(
            "this is not an image that can be used; give a file of one of the formats "
            f"{', '.join(FORMATS)}"
        ) from None
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise UserError(
            f"the image has {width} x {height} pixels; give one of at most {limits.pixels:,}, and "
            f"{limits.side:,} along each side"
        )


class _Watched(io.BytesIO):
    """A file whose reading stops when tables in it refer to the same bytes again and again."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = READ * len(content) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self._left -= len(part)
        if self._left < 0:
            raise UserError("the image refers to the same bytes again and again; give another file")
        return part
