import { StillpointError } from "#libs/errors";
import { filePath, LONG, type QemuImgLimits, tryQemuImg } from "./qemu-img.ts";

export interface CheckResult {
  /** Wrong metadata: the disk must not be used. */
  readonly corruptions: number;
  /** Space that is lost but harms nothing. */
  readonly leaks: number;
}

/**
 * Checks the metadata of a qcow2 file that nobody writes to, without following its backing file.
 * @throws StillpointError IMAGE_CORRUPT when it cannot even be opened
 */
export async function checkImage(path: string, limits: QemuImgLimits = {}): Promise<CheckResult> {
  const file = { driver: "file", filename: filePath(path) };
  const source = `json:${JSON.stringify({ driver: "qcow2", file, backing: null })}`;
  const args = ["check", "--output=json", source];
  const { exitCode, stdout, stderr } = await tryQemuImg(args, { ...LONG, ...limits });
  // qemu-img(1), check: 0 consistent, 1 not checked, 2 corrupt, 3 leaks only.
  if (exitCode !== 0 && exitCode !== 2 && exitCode !== 3) {
    throw new StillpointError("IMAGE_CORRUPT", `${path} cannot be checked: ${stderr.trim()}`);
  }
  const report: unknown = JSON.parse(stdout);
  return { corruptions: count(report, "corruptions") + count(report, "check-errors"), leaks: count(report, "leaks") };
}

/** Values in a list of image options end at a comma; two of them stand for one. */
export function escapeComma(value: string): string {
  return value.replaceAll(",", ",,");
}

function count(report: unknown, key: string): number {
  const value = typeof report === "object" && report !== null ? Reflect.get(report, key) : undefined;
  return typeof value === "number" ? value : 0;
}
