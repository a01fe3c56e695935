import { type JsonObject, sealReceipt } from "./receipt.ts";

/** What came of trying a checkpoint. */
export interface DrillResult {
  readonly passed: boolean;
  /**
   * Stable reason why it failed: agent.absent, vm.ended, command.failed, command.timed_out, and of a container
   * container.ended, health.failed, health.timed_out; empty when it passed.
   */
  readonly reason: string;
  /** What happened in words. */
  readonly detail: string;
  /** Program and arguments; empty when it was only waited until it is up. */
  readonly command: readonly string[];
  readonly exitCode?: number;
  /** The end of what the command printed. */
  readonly output?: string;
  /** From the beginning of the restore to the guest's agent answering, or the container being up. */
  readonly secondsToAgent?: number;
  /** The same to the end of the command: the time to restore. */
  readonly secondsToResult?: number;
}

const drillVersion = 1;
/** How many drills a receipt tells of, the newest ones. */
const historyLength = 20;
const outputLength = 4_096;

/** The drill as it is kept with the checkpoint. */
export const drillReceipt = (result: DrillResult, operation: string, time: Date): JsonObject => ({
  version: drillVersion,
  ...result,
  operation,
  time: time.toISOString(),
});

/** The checkpoint's receipt with the drill in its history, sealed anew. */
export function withDrill(receipt: JsonObject, drill: JsonObject, hash: (text: string) => string): JsonObject {
  const before = Array.isArray(receipt.drills) ? (receipt.drills as readonly unknown[]) : [];
  return sealReceipt({ ...receipt, drills: [...before, drill].slice(-historyLength) }, hash);
}

/** What was printed, as far as it is kept: its end. */
export const outputTail = (printed: string): string => printed.slice(-outputLength);

/** What a command that ended says of the checkpoint. */
export function judgeCommand(command: readonly string[], exitCode: number, printed: string): DrillResult {
  const output = outputTail(printed);
  if (exitCode === 0)
    return { passed: true, reason: "", detail: "the check command passed", command, exitCode, output };
  const lastLine = output.trim().split("\n").at(-1) ?? "";
  const told = lastLine === "" ? "" : `: ${lastLine}`;
  const detail = `the check command ended with ${exitCode}${told}`;
  return { passed: false, reason: "command.failed", detail, command, exitCode, output };
}
