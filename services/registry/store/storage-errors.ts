import { OciError } from "../domain/oci-error.ts";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
/** Of the file system or its device; of a network, only what a shared folder gives. */
const BROKEN = new Set(["EIO", "EROFS", "EACCES", "EPERM", "ESTALE", "EMFILE", "ENFILE", "ENODEV", "ENXIO"]);
const ABSENT = new Set(["ENOENT", "ENOTDIR"]);

export function isAbsent(error: unknown): boolean {
  return hasCode(error, ABSENT);
}

export function absentAsUndefined(error: unknown): undefined {
  if (!isAbsent(error)) throw asFsRefusal(error);
}

/** A failure of the file system as clients of the registry are told it. */
export function asFsRefusal(error: unknown): unknown {
  if (hasCode(error, FULL)) {
    return new OciError("UNAVAILABLE", "the registry has no space left", { status: 507, cause: error });
  }
  if (!hasCode(error, BROKEN)) return error;
  return new OciError("UNAVAILABLE", "the registry's disk does not answer as it should: try again", { cause: error });
}

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && codes.has(error.code);
}
