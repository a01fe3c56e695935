import type { Writer } from "#contracts/vm/v1/vm";
import { readGuestFile } from "../guest-file.ts";
import type { Machine } from "../ports.ts";
import { GuestAgentError, type GuestCall } from "../qemu/guest-agent.ts";
import { hookOf } from "./hook-option.ts";
import { INVENTORY, parseInventory } from "./inventory.ts";
import type { GuestFileSystem } from "./mounts.ts";

/** What a guest's agent told. Undefined in it: the agent does not allow it to be asked. */
export interface GuestAnswers {
  readonly state: "answers";
  readonly version: string;
  readonly canFreeze: boolean;
  /** Someone holds it frozen; nothing else could be asked then. */
  readonly isFrozen: boolean;
  readonly fileSystems: readonly GuestFileSystem[] | undefined;
  readonly hook: HookFacts | undefined;
  /** Undefined too where the guest keeps no inventory. */
  readonly writers: readonly Writer[] | undefined;
}

export interface HookFacts {
  /** Undefined: the agent was started without one. */
  readonly path: string | undefined;
  readonly isThere: boolean;
}

export type GuestFacts =
  | { readonly state: "absent" }
  | { readonly state: "unresponsive"; readonly detail: string }
  | GuestAnswers;

/** Runs `use` in a turn of its own at the guest's agent; rejects instead when the guest is not to be disturbed. */
export type AskGuest = <Result>(use: (call: GuestCall) => Promise<Result>) => Promise<Result>;

interface GuestInfo {
  readonly version: string;
  readonly supported_commands: readonly { readonly name: string; readonly enabled: boolean }[];
}

const ASK_MS = 3_000;
const CONFIGURATION = "/etc/qemu/qemu-ga.conf";

/** The guest is not to be asked now: a step acts on it, or it is or may be frozen. */
export class GuestDisturbed extends Error {
  override readonly name = "GuestDisturbed";
}

/** Asks the guest of a machine that runs; only reads. @throws GuestDisturbed when `ask` does */
export async function readGuest(machine: Machine, ask: AskGuest): Promise<GuestFacts> {
  if (!(await machine.guestIsListening())) return { state: "absent" };
  try {
    const basics = await ask(readBasics);
    const unknown = { fileSystems: undefined, hook: undefined, writers: undefined };
    return { state: "answers", ...basics, ...(basics.isFrozen ? unknown : await readDetails(ask)) };
  } catch (error) {
    if (error instanceof GuestDisturbed) throw error;
    return { state: "unresponsive", detail: error instanceof Error ? error.message : String(error) };
  }
}

async function readBasics(call: GuestCall) {
  const { version, supported_commands: commands } = await call<GuestInfo>("guest-info", undefined, ASK_MS);
  const isFrozen = (await call<string>("guest-fsfreeze-status", undefined, ASK_MS)) === "frozen";
  const canFreeze = commands.some(({ name, enabled }) => name === "guest-fsfreeze-freeze" && enabled);
  return { version, canFreeze, isFrozen };
}

async function readDetails(ask: AskGuest) {
  const fileSystems = await ask((call) =>
    ifAllowed(() => call<GuestFileSystem[]>("guest-get-fsinfo", undefined, ASK_MS)),
  );
  const inventory = await ask((call) => ifAllowed(() => readGuestFile(call, INVENTORY)));
  return { fileSystems, hook: await readHook(ask), writers: parseInventory(inventory ?? "") };
}

/** qemu-ga reads /proc/self as itself, so this is its own command line. */
async function readHook(ask: AskGuest): Promise<HookFacts | undefined> {
  const cmdline = await ask((call) => ifAllowed(() => readGuestFile(call, "/proc/self/cmdline")));
  if (cmdline === undefined || cmdline === "") return undefined;
  const configuration = await ask((call) => ifAllowed(() => readGuestFile(call, CONFIGURATION)));
  const path = hookOf(cmdline, configuration);
  // One that may not be read may still be run.
  const isThere = async (hook: string) =>
    (await ask((call) => ifAllowed(async () => (await readGuestFile(call, hook)) !== undefined))) ?? true;
  return { path, isThere: path !== undefined && (await isThere(path)) };
}

/** Undefined when the agent says no. */
async function ifAllowed<Result>(read: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof GuestAgentError) return undefined;
    throw error;
  }
}
