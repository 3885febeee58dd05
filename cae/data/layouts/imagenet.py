"""ImageNet's layout: <split>/<class>/<image>, a folder a class."""

from collections import Counter
from pathlib import Path
from shlex import quote

from cae.data.layouts.parts import (
    Contents,
    Published,
    WrongLayout,
    contents,
    count_left_out,
    ending,
    existing_folder,
    shortened,
)  # fmt: skip

SPLITS = "train", "val"
PUBLISHED = Published(1_281_167, 50_000, 1000, 155e9)
NEEDED = SPLITS
EXPECTED = "train/<class>/<image>", "val/<class>/<image>, of the same classes"
OTHER_NAMES = {"train": {"train", "training"}, "val": {"val", "valid", "validation", "test", "testing", "dev"}}


def listing(root: Path, _) -> tuple[list[str], dict]:
    inside = {split: contents(existing_folder(root / split)) for split in SPLITS}
    train, val = (inside[split].folders for split in SPLITS)
    if not train:
        raise WrongLayout(f"{root / 'train'}: holds no class folders")
    if train != val:
        parts = {"train": sorted(set(train) - set(val)), "val": sorted(set(val) - set(train))}
        only = "; ".join(f"only {split} has {shortened(names)}" for split, names in parts.items() if names)
        raise WrongLayout(f"{root / 'val'}: classes differ from {root / 'train'}: {only}")
    return train, {split: _split(root, split, inside[split]) for split in SPLITS}


def _split(root: Path, split: str, inside: Contents) -> dict:
    images, labels, bare = [], [], []
    left_out = count_left_out(inside._replace(folders=[])) + Counter(
        {"images outside of class folders": len(inside.images)}
    )
    for label, name in enumerate(inside.folders):
        found = contents(root / split / name)
        images += [f"{split}/{name}/{image}" for image in found.images]
        labels += [label] * len(found.images)
        left_out.update(count_left_out(found, "folders inside of class folders"))
        if not found.images:
            bare.append(f"{root / split / name}: class without images (it holds {found.description()})")
    if bare:
        more = f", as {len(bare) - 1} more of {split}" if bare[1:] else ""
        raise WrongLayout(f"{bare[0]}{more}; add images, or remove the class from both splits")
    return {"images": images, "labels": labels, "left_out": left_out}


def looks_like(root: Path) -> list[str]:
    """Recognise what often lies in the place of this layout, and say how to make this layout of it."""
    folders = contents(root).folders
    missing = [split for split in SPLITS if split not in folders]
    hints = [hint for split in SPLITS if split in folders for hint in _looks_of_split(root / split)]
    for split in missing:
        for name in folders:
            if name.lower() in OTHER_NAMES[split]:
                hints.append(f"{name}/ looks like the split {split}: `ln -s {quote(name)} {quote(f'{root / split}')}`")
                break
    if missing == [*SPLITS] and not hints and any(contents(root / name).images for name in folders):
        hints.append(
            "These look like class folders without splits: move them into train/, and a part of each one's images into "
            "val/<class>/"
        )
    return hints


def _looks_of_split(folder: Path) -> list[str]:
    inside, name, at = contents(folder), folder.name, quote(str(folder))
    if "val_annotations.txt" in inside.others and inside.folders == ["images"]:
        return [
            f"{name}/ looks like that of Tiny ImageNet. Sort its images into class folders: `cd {at} && while read -r image "
            'class _; do mkdir -p "$class" && mv "images/$image" "$class/"; done < val_annotations.txt && rmdir images`'
        ]
    if inside.images and not inside.folders:
        return [
            f"{name}/ is flat: put each image into a folder that is named by its class. (ImageNet's validation images unpack "
            "so; extract_ILSVRC.sh of PyTorch's examples sorts them.)"
        ]
    if inside.others and not inside.folders and {ending(each) for each in inside.others} == {".tar"}:
        return [
            f"{name}/ holds archives, one a class. Unpack them: `cd {at} && for archive in *.tar; do mkdir "
            '"${archive%.tar}" && tar -xf "$archive" -C "${archive%.tar}"; done`'
        ]
    classes = [contents(folder / each) for each in inside.folders]
    deeper = {each for found in classes if not found.images for each in found.folders}
    if len(deeper) == 1:
        deeper = quote(deeper.pop())
        return [
            f"{name}/ has its images one folder deeper, in <class>/{deeper}/. Move them up: `for class in {at}/*/; do mv "
            f'"$class"{deeper}/* "$class" && rmdir "$class"{deeper}; done`'
        ]
    if deeper:
        return [
            f"{name}/ has its images one folder deeper, in {len(deeper)} folders: move them up into the class folders"
        ]
    return []
