"""Draw frames of the line above the golden image of the part that each was taken for.

python examples/show_answers.py line3.partsight examples/parts answers.png
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from partsight.runtime import Recognizer, read_image
from partsight.runtime.cameras.files import find_images

COLUMNS = 6

package, data, out = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
line, unknown = find_images(data / "line"), find_images(data / "unknown")
rng = np.random.default_rng(0)
chosen = [line[place] for place in sorted(rng.choice(len(line), COLUMNS - 1, replace=False))]
chosen += [unknown[place] for place in sorted(rng.choice(len(unknown), 1, replace=False))]
with Recognizer(package) as recognizer:
    answers = recognizer.recognize_batch([read_image(path) for path in chosen])

figure = Figure(figsize=(2 * COLUMNS, 4.6), layout="constrained")
axes = figure.subplots(2, COLUMNS)
for column, (path, answer) in enumerate(zip(chosen, answers, strict=True)):
    truth = path.parent.name if path.is_relative_to(data / "line") else "(never taught)"
    best = answer.top[0][0]
    color = "#1f7a4d" if answer.label == (truth if truth != "(never taught)" else None) else "#c0392b"
    golden = read_image(next((data / "golden" / best).iterdir()))
    pictures = ((read_image(path), truth[:34]), (golden, f"{(answer.label or 'unknown')[:34]}\n{answer.score:.3f}"))
    for row, (image, title) in enumerate(pictures):
        axes[row, column].imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        axes[row, column].set_title(title, fontsize=7, color=color if row else "#34495e")
        axes[row, column].axis("off")
axes[0, 0].text(-0.12, 0.5, "frame", transform=axes[0, 0].transAxes, rotation=90, va="center")
axes[1, 0].text(-0.12, 0.5, "answer", transform=axes[1, 0].transAxes, rotation=90, va="center")
figure.savefig(out, dpi=90)
print(out)
