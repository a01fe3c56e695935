import { InvalidArgumentError } from "commander";
import { parseSize } from "./size.ts";

export interface NewDisk {
  readonly sizeBytes: number;
  readonly excludeFromCheckpoints: boolean;
}

/** An additional disk as `10GiB`, or `10GiB,exclude` for one that checkpoints leave out. */
export function parseDisk(text: string): NewDisk {
  const [size = "", option, ...rest] = text.split(",");
  if ((option !== undefined && option !== "exclude") || rest.length > 0) {
    throw new InvalidArgumentError("Write a size such as 10GiB, or 10GiB,exclude.");
  }
  return { sizeBytes: parseSize(size), excludeFromCheckpoints: option === "exclude" };
}
