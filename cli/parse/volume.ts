import { InvalidArgumentError } from "commander";

export interface Volume {
  /** Empty for a path of the host. */
  readonly volume: string;
  readonly hostPath: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly excludeFromCheckpoints: boolean;
}

/** `NAME:PATH`, or `/HOST/PATH:PATH`, then `:ro`, `:exclude` or both with a comma. */
export function parseVolume(text: string): Volume {
  const [source = "", path = "", options, ...rest] = text.split(":");
  const words = options?.split(",") ?? [];
  const areKnown = words.every((word, i) => ["ro", "exclude"].includes(word) && words.indexOf(word) === i);
  if (source === "" || path === "" || rest.length > 0 || !areKnown) {
    throw new InvalidArgumentError("Write NAME:PATH, NAME:PATH:ro, NAME:PATH:exclude or NAME:PATH:ro,exclude.");
  }
  const isOfHost = source.startsWith("/");
  return {
    volume: isOfHost ? "" : source,
    hostPath: isOfHost ? source : "",
    path,
    readOnly: words.includes("ro"),
    excludeFromCheckpoints: words.includes("exclude"),
  };
}
