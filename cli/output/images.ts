import type { Image } from "#contracts/registry/v1/registry";
import { renderFields, renderTable } from "./table.ts";
import { showAge, showBytes, showTime } from "./units.ts";

export function showImages(images: readonly Image[], now: Date): string {
  if (images.length === 0) return "No images. Bring one with: stillpoint image import FILE REF";
  const rows = images.map((image) => [
    image.reference,
    image.digest.slice(0, "sha256:".length + 12),
    kind(image),
    showBytes(image.sizeBytes),
    showBytes(image.sharedBytes),
    image.virtualSizeBytes === 0 ? "" : showBytes(image.virtualSizeBytes),
    showAge(image.pullTime, now),
    showAge(image.pushTime, now),
  ]);
  return renderTable(["REFERENCE", "DIGEST", "KIND", "SIZE", "SHARED", "DISK", "PULLED", "AGE"], rows);
}

export const showImage = (image: Image): string =>
  renderFields([
    ["Reference", image.reference],
    ["Digest", image.digest],
    ["Kind", kind(image)],
    ["Type", image.artifactType],
    ["Size", image.sizeBytes === 0 ? undefined : showBytes(image.sizeBytes)],
    ["Shared", image.sharedBytes === 0 ? undefined : showBytes(image.sharedBytes)],
    ["Disk", image.virtualSizeBytes === 0 ? undefined : showBytes(image.virtualSizeBytes)],
    ["Pushed", showTime(image.pushTime)],
    ["Pulled", showTime(image.pullTime)],
  ]);

const kind = ({ artifactType }: Image): string => (artifactType.includes("stillpoint.vm.image") ? "vm" : "container");
