import { isStillpointError, type StillpointError } from "#libs/errors";
import { exitCodes } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { printable } from "./printable.ts";

/** Says on stderr what failed and what to do, and gives the exit code. */
export function tellError(error: unknown, terminal: Terminal): number {
  if (!isStillpointError(error)) return terminal.signal.aborted ? exitCodes.interrupted : tellForeign(error, terminal);
  terminal.err(`Error ${reasonOf(error)}: ${printable(error.message)}\n`);
  if (error.help !== "") terminal.err(`${printable(error.help)}\n`);
  return terminal.signal.aborted ? exitCodes.interrupted : exitCodeOf(error);
}

/** Of an error that is none of ours: a file that somebody has named wrongly, or a defect. */
function tellForeign(error: unknown, terminal: Terminal): number {
  const file = fileTrouble(error);
  if (file !== undefined) {
    terminal.err(`Error ARGUMENT_INVALID: ${printable(file)}\nCorrect the path, or the rights there.\n`);
    return exitCodes.failed;
  }
  const what = error instanceof Error ? error.message : String(error);
  terminal.err(`Error INTERNAL: ${printable(what)}\n`);
  if (error instanceof Error && terminal.env.STILLPOINT_DEBUG !== undefined) terminal.err(`${error.stack}\n`);
  return exitCodes.failed;
}

/** A newer server's reason is shown as it came, although this version knows only its general kind. */
const reasonOf = (error: StillpointError): string => error.metadata.foreignReason ?? error.reason;

function exitCodeOf(error: StillpointError): number {
  // Every answer of a server carries the request id: without one nobody answered.
  const nobody = error.reason === "UNAVAILABLE" || error.reason === "REGISTRY_UNREACHABLE";
  if (nobody && error.metadata.requestId === undefined) return exitCodes.unreachable;
  if (error instanceof UsageError) return exitCodes.usage;
  return exitCodes.failed;
}

const missing = new Set(["ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EPERM", "EROFS", "EEXIST"]);

/** What is wrong with a file that somebody has named. */
function fileTrouble(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code = "", path, syscall = "" }: NodeJS.ErrnoException = error;
  if (!missing.has(code) || path === undefined || syscall.startsWith("spawn")) return undefined;
  const [, why = code] = /^[A-Z]+: ([^,]+)/.exec(error.message) ?? [];
  return `${path}: ${why}`;
}
