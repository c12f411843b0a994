#!/usr/bin/env python3
"""Draws the arena's sprites: `python3 assets/make_sprites.py` writes the PNG files beside it.

Shapes are signed distance functions, drawn white on transparent; the game tints them. Standard library only.
"""
import math
import os
import struct
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def write(name, width, height, pixel):
    """`pixel(x, y)` gives (shade, alpha), both 0..1; x and y in pixels from the centre, y upwards."""
    rows = bytearray()
    for row in range(height):
        rows.append(0)
        for column in range(width):
            shade, alpha = pixel(column - (width - 1) / 2, (height - 1) / 2 - row)
            v = round(255 * min(1, max(0, shade)))
            rows += bytes((v, v, v, round(255 * min(1, max(0, alpha)))))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b""))


def edge(d):
    """Coverage of a pixel at signed distance d (negative inside)."""
    return min(1, max(0, 0.5 - d))


def halo(d, reach, strength=0.5):
    return strength * max(0.0, 1 - max(d, 0) / reach) ** 2.2


def segment(x, y, a, b):
    px, py, bx, by = x - a[0], y - a[1], b[0] - a[0], b[1] - a[1]
    h = min(1, max(0, (px * bx + py * by) / max(1e-9, bx * bx + by * by)))
    return math.hypot(px - bx * h, py - by * h)


def polyline(x, y, points):
    return min(segment(x, y, a, b) for a, b in zip(points, points[1:]))


def polygon(x, y, points):
    d, inside = 1e9, False
    for a, b in zip(points, points[1:] + points[:1]):
        d = min(d, segment(x, y, a, b))
        if (a[1] > y) != (b[1] > y) and x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]:
            inside = not inside
    return -d if inside else d


def glow(x, y):
    return 1, max(0, 1 - math.hypot(x, y) / 63) ** 2.4


def spark(x, y):
    r = math.hypot(x, y) / 31
    return 1, min(1, 1.6 * max(0, 1 - r) ** 1.7)


def ship(x, y):
    body = [(52, 0), (-40, 42), (-26, 0), (-40, -42)]
    d = polygon(x, y, body) - 9
    rim = edge(-7 - d)
    core = edge(math.hypot(x + 4, y) - 12)
    shade = 0.38 + 0.62 * max(rim, core)
    return shade, max(edge(d), halo(d, 34, 0.5))


def bolt(x, y):
    d = segment(x, y, (-34, 0), (34, 0)) - 6
    fill = edge(d)
    return 1, max(fill, halo(d, 22, 0.6)) * min(1, 0.25 + (x + 60) / 80)


def ring(x, y):
    d = abs(math.hypot(x, y) - 98) - 3.5
    return 1, max(edge(d), halo(d, 22, 0.45))


def hexagon(x, y):
    points = [(100 * math.cos(i * math.pi / 3), 100 * math.sin(i * math.pi / 3)) for i in range(6)]
    inner = polygon(x, y, points)
    d = abs(inner) - 3.5
    return 1, max(edge(d), halo(d, 20, 0.4), 0.10 * edge(inner))


def pillar(x, y):
    r = math.hypot(x, y)
    d = r - 104
    rim = edge(-7 - d)
    inner = edge(abs(r - 70) - 1.5) * 0.45
    turn = (math.atan2(y, x) / (2 * math.pi) * 12) % 1
    ticks = 0.5 * edge(abs(r - 84) - 6) * (1 if 0.42 < turn < 0.58 else 0)
    shade = max(0.10 + 0.05 * (1 - r / 104), rim, inner, ticks)
    return shade, max(edge(d), halo(d, 22, 0.5))


def grid(x, y):
    d = min(abs(abs(x) - 63.5), abs(abs(y) - 63.5))
    line = edge(d - 0.6)
    corner = edge(math.hypot(abs(x) - 63.5, abs(y) - 63.5) - 4)
    return 1, max(0.34 * line, 0.9 * corner, halo(d, 7, 0.10))


def frame(x, y):
    """A glowing frame with round corners, to be stretched in nine parts."""
    qx, qy = abs(x) - (40 - 14), abs(y) - (40 - 14)
    outside = math.hypot(max(qx, 0), max(qy, 0)) + min(max(qx, qy), 0) - 14
    d = abs(outside) - 3.5
    return 1, max(edge(d), halo(d, 26, 0.55))


def icon(shape, line=6):
    def pixel(x, y):
        disc = math.hypot(x, y) - 50
        rim = abs(disc) - 3
        d = shape(x, y) - line
        back = 0.16 * edge(disc)
        return 1, max(edge(rim), halo(rim, 12, 0.35), edge(d), back)

    return pixel


def heart(x, y):
    y, x = y + 4, abs(x)
    d = polygon(x, y, [(0, -24), (26, 4), (0, 14), (-1, 14), (-1, -24)])
    return min(d, math.hypot(x - 13, y - 8) - 15)


def rapid(x, y):
    return min(polyline(x + shift, y, [(-9, 21), (12, 0), (-9, -21)]) for shift in (14, -6))


def shield(x, y):
    return polyline(x, y, [(0, 27), (22, 18), (20, -8), (0, -27), (-20, -8), (-22, 18), (0, 27)])


LETTERS = {
    "A": [[(0, 0), (38, 100), (76, 0)], [(17, 36), (59, 36)]],
    "R": [[(0, 0), (0, 100), (44, 100), (62, 86), (62, 62), (44, 48), (0, 48)], [(34, 48), (66, 0)]],
    "E": [[(62, 100), (0, 100), (0, 0), (62, 0)], [(0, 51), (50, 51)]],
    "N": [[(0, 0), (0, 100), (66, 0), (66, 100)]],
}


def logo():
    lines, left = [], 0
    for letter in "ARENA":
        strokes = LETTERS[letter]
        lines += [[(x + left, y) for x, y in stroke] for stroke in strokes]
        left += max(x for stroke in strokes for x, _ in stroke) + 58
    width = left - 58
    scale = 1.42
    lines = [[((x - width / 2) * scale, (y - 50) * scale) for x, y in line] for line in lines]

    def pixel(x, y):
        d = min(polyline(x, y, line) for line in lines)
        tube = edge(d - 9)
        return 0.7 + 0.3 * edge(d - 3.5), max(tube, halo(d - 9, 34, 0.55))

    return pixel


write("glow.png", 128, 128, glow)
write("spark.png", 64, 64, spark)
write("ship.png", 192, 192, ship)
write("bolt.png", 128, 64, bolt)
write("ring.png", 256, 256, ring)
write("hexagon.png", 256, 256, hexagon)
write("pillar.png", 256, 256, pillar)
write("grid.png", 128, 128, grid)
write("frame.png", 160, 160, frame)
write("heart.png", 128, 128, icon(heart, 0))
write("rapid.png", 128, 128, icon(rapid, 5))
write("shield.png", 128, 128, icon(shield, 5))
write("logo.png", 1000, 260, logo())
