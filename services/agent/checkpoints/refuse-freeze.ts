import type { Machine } from "../ports.ts";
import type { Workload } from "../workload.ts";
import type { Refusal } from "./freeze.ts";
import { clearReport } from "./writers-report.ts";

export const DEFAULT_WINDOW_MS = 10_000;
/** VSS lets writers go after that by itself (volume-shadow-copy-service.md). */
const VSS_WINDOW_MS = 10_000;
const ASK_MS = 3_000;

interface GuestInfo {
  readonly supported_commands: readonly { readonly name: string; readonly enabled: boolean }[];
}

const tooLongForVss: Refusal = {
  reason: "vss.limit_10s",
  detail: "the freeze window is longer than the 10 s after which VSS thaws by itself",
};

const owing: Refusal = { reason: "agent.unresponsive", detail: "the guest has not answered an earlier thaw yet" };

/**
 * Why the guest must not be frozen now; undefined when it may be. Never freeze a paused VM: the freeze would wait in the
 * channel and strike when it goes on.
 */
export async function refuseFreeze(
  workload: Workload,
  machine: Machine,
  windowMs: number,
): Promise<Refusal | undefined> {
  if (workload.owesThaw) return owing;
  if ((await machine.state()) !== "running") return { reason: "vm.paused", detail: "the VM is paused" };
  if (!(await machine.guestIsListening()))
    return { reason: "agent.absent", detail: "no guest agent listens in the VM" };
  try {
    const { supported_commands: commands } = await machine.guest.call<GuestInfo>("guest-info", undefined, ASK_MS);
    const canFreeze = commands.some(({ name, enabled }) => name === "guest-fsfreeze-freeze" && enabled);
    // A frozen agent disables the freeze too, so its state is asked first.
    const status = await machine.guest.call<string>("guest-fsfreeze-status", undefined, ASK_MS);
    if (status === "frozen") return { reason: "agent.already_frozen", detail: "someone else has frozen the guest" };
    if (!canFreeze) return { reason: "agent.rpc_disabled", detail: "the guest agent does not allow freezing" };
    if (windowMs > VSS_WINDOW_MS && (await isWindows(machine))) return tooLongForVss;
    await clearReport(machine.guest);
    return undefined;
  } catch (error) {
    return { reason: "agent.unresponsive", detail: error instanceof Error ? error.message : String(error) };
  }
}

async function isWindows({ guest }: Machine): Promise<boolean> {
  const { id } = await guest.call<{ readonly id?: string }>("guest-get-osinfo", undefined, ASK_MS);
  return id === "mswindows";
}
