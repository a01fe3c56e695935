import type { Problem } from "#libs/spec-checks";

export interface VolumeToCheck {
  readonly volume: string;
  readonly path: string;
  readonly hostPath: string;
  readonly excludeFromCheckpoints?: boolean;
}

const maxVolumes = 32;
const name = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** What the engine or we put there. */
const reserved = ["/proc", "/sys", "/dev", "/run/secrets"];

export function volumeProblems(volumes: readonly VolumeToCheck[]): Problem[] {
  if (volumes.length > maxVolumes) {
    return [{ field: "spec.volumes", message: `has ${volumes.length} volumes; at most ${maxVolumes} are allowed` }];
  }
  const twice = (of: (volume: VolumeToCheck) => string, i: number) =>
    volumes.slice(0, i).some((other) => of(other) === of(volumes[i] as VolumeToCheck));
  return volumes.flatMap((volume, i) => {
    const field = `spec.volumes[${i}]`;
    const nameTwice = volume.volume !== "" && twice((it) => it.volume, i);
    return [
      ...source(field, volume),
      ...target(`${field}.path`, volume.path),
      ...(nameTwice ? [{ field: `${field}.volume`, message: `${volume.volume} is given twice` }] : []),
      ...(twice((it) => it.path, i) ? [{ field: `${field}.path`, message: `${volume.path} is given twice` }] : []),
    ];
  });
}

function source(field: string, { volume, hostPath }: VolumeToCheck): Problem[] {
  if (volume !== "" && hostPath !== "") return [{ field, message: "names both a volume and a path of the host" }];
  if (hostPath !== "") {
    if (isCleanPath(hostPath)) return [];
    return [{ field: `${field}.host_path`, message: "must be an absolute path without . and .., such as /srv/web" }];
  }
  if (name.test(volume)) return [];
  return [{ field: `${field}.volume`, message: "must be a name of 1 to 63 lower-case letters, digits and dashes" }];
}

function target(field: string, path: string): Problem[] {
  if (!isCleanPath(path) || path === "/") {
    return [{ field, message: "must be an absolute path without . and .., such as /var/lib/data" }];
  }
  const taken = reserved.find((top) => path === top || path.startsWith(`${top}/`));
  return taken === undefined ? [] : [{ field, message: `must not be in ${taken}` }];
}

/** An absolute path of printable characters, in the one form that it has: no empty part, no "." and no "..". */
export function isCleanPath(path: string): boolean {
  // Docker's own syntax for mounts parts at colons.
  if (path.length > 1_024 || !/^\/[^\p{Cc}:]*$/u.test(path)) return false;
  if (path === "/") return true;
  return path
    .slice(1)
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== "..");
}
