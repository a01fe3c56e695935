import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { eventually, loopback, type Place } from "#libs/testing";
import { runCommand } from "./command.ts";

/** A network namespace with an address of its own; what runs there finds the others by name too. */
export interface Machine extends Place {
  readonly name: string;
}

/**
 * Machines on one bridge, which is in a namespace of its own, and this machine beside them. Nothing of it has a name in
 * the system: all is gone with the processes in it, also when this process is killed.
 */
export interface Network extends AsyncDisposable {
  /** This machine, as the others see it. */
  readonly here: Machine;
  machine(name: string): Machine;
  /** Neither hears the other. */
  part(one: Machine, other: Machine): Promise<void>;
  /** `deaf` no longer hears `speaker`, who hears it well. */
  silence(speaker: Machine, deaf: Machine): Promise<void>;
  /** `deaf` loses these parts (0 to 1) of what `speaker` says, at random. */
  lose(speaker: Machine, deaf: Machine, share: number): Promise<void>;
  /** Whatever `speaker` sends over TCP to `other`, its connection is reset. */
  reset(speaker: Machine, other: Machine): Promise<void>;
  /** Everybody hears everybody. */
  heal(): Promise<void>;
  /** Nobody but this machine hears it, and it hears nobody else. */
  isolate(machine: Machine): Promise<void>;
}

/** Why there can be none here; undefined when there can. */
export async function whyNoNetwork(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const program of ["ip", "iptables", "unshare", "nsenter"]) {
    const { code } = await runCommand(program, ["-V"]).catch(() => ({ code: 1 }));
    if (code !== 0) return `there is no ${program}`;
  }
  return undefined;
}

/** @param folder where the table of names is kept */
export async function startNetwork(names: readonly string[], folder: string): Promise<Network> {
  await using stack = new AsyncDisposableStack();
  const subnet = freeSubnet();
  const addresses = new Map(names.map((name, index) => [name, `${subnet}.${index + 1}`]));
  const hosts = join(folder, "hosts");
  const table = [...addresses].map(([name, address]) => `${address} ${name}\n`).join("");
  await writeFile(hosts, `127.0.0.1 localhost\n${table}`, { mode: 0o644 });

  const bridge = stack.use(await Namespace.start());
  await bridge.run("ip", "link", "add", "bridge", "type", "bridge");
  await bridge.run("ip", "link", "set", "bridge", "up");
  // By it whoever comes later finds what this process has left.
  const link = `sp${process.pid}-${subnet.split(".")[2] ?? ""}`;
  await attach(bridge, { link, address: `${subnet}.254` });
  const machines = new Map<string, Machine>();
  const namespaces = new Map<Machine, Namespace>();
  for (const [name, address] of addresses) {
    const namespace = stack.use(await Namespace.start());
    await namespace.run("mount", "--bind", hosts, "/etc/hosts");
    await attach(bridge, { link: `m${address.split(".")[3] ?? ""}`, address, namespace });
    const machine = placeIn(name, address, namespace);
    machines.set(name, machine);
    namespaces.set(machine, namespace);
  }
  const owned = stack.move();
  const here: Machine = { ...loopback, name: "here", address: `${subnet}.254` };
  return {
    ...faults(namespaces),
    here,
    machine(name) {
      const found = machines.get(name);
      if (found === undefined) throw new Error(`there is no machine ${name}`);
      return found;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function faults(namespaces: ReadonlyMap<Machine, Namespace>) {
  // No rule is made on this machine: what it is not to hear does not leave the other one.
  const rule = async (speaker: Machine, deaf: Machine, ...what: string[]) => {
    const at = namespaces.get(deaf);
    const matched = at === undefined ? ["OUTPUT", "-d", deaf.address] : ["INPUT", "-s", speaker.address];
    await (at ?? namespaces.get(speaker))?.run("iptables", "-w", "-A", ...matched, ...what);
  };
  const drop = (speaker: Machine, deaf: Machine, ...when: string[]) => rule(speaker, deaf, ...when, "-j", "DROP");
  const part = async (one: Machine, other: Machine) => {
    await Promise.all([drop(one, other), drop(other, one)]);
  };
  return {
    part,
    silence: (speaker: Machine, deaf: Machine) => drop(speaker, deaf),
    lose: (speaker: Machine, deaf: Machine, share: number) =>
      drop(speaker, deaf, "-m", "statistic", "--mode", "random", "--probability", share.toFixed(3)),
    reset: (speaker: Machine, other: Machine) =>
      rule(speaker, other, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
    isolate: async (machine: Machine) => {
      const others = [...namespaces.keys()].filter((other) => other !== machine);
      await Promise.all(others.map((other) => part(machine, other)));
    },
    heal: async () => {
      await Promise.all([...namespaces.values()].map((it) => it.run("iptables", "-w", "-F")));
    },
  };
}

const FIRST_PORT = 15_000;

function placeIn(name: string, address: string, namespace: Namespace): Machine {
  let port = FIRST_PORT;
  return {
    name,
    address,
    command: (argv) => ["nsenter", "--target", `${namespace.pid}`, "--net", "--mount", "--", ...argv],
    freePort: async () => port++,
  };
}

interface Attachment {
  readonly link: string;
  readonly address: string;
  /** Where its end is; on this machine, under the name of the link, if unsaid. */
  readonly namespace?: Namespace;
}

async function attach(bridge: Namespace, { link, address, namespace }: Attachment): Promise<void> {
  const end = namespace === undefined ? [link] : ["eth0", "netns", `${namespace.pid}`];
  const run = namespace === undefined ? runHere : namespace.run.bind(namespace);
  const device = end[0] ?? "";
  await runHere("ip", "link", "add", ...end, "type", "veth", "peer", "name", link, "netns", `${bridge.pid}`);
  await bridge.run("ip", "link", "set", link, "master", "bridge", "up");
  await run("ip", "address", "add", `${address}/24`, "dev", device);
  await run("ip", "link", "set", device, "up");
}

/** A process that keeps a network and a mount namespace. */
class Namespace implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(): Promise<Namespace> {
    const argv = ["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--", "sleep", "infinity"];
    const namespace = new Namespace(spawn("setpriv", argv, { stdio: "ignore" }));
    // Until unshare has done its work, the process is still in ours.
    const comm = () => readFile(`/proc/${namespace.pid}/comm`, "utf8");
    await eventually(async () => (await comm()).trim() === "sleep", { everyMs: 5 });
    await namespace.run("ip", "link", "set", "lo", "up");
    return namespace;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async run(...argv: string[]): Promise<void> {
    await runHere("nsenter", "--target", `${this.pid}`, "--net", "--mount", "--", ...argv);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

async function runHere(program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await runCommand(program, args);
  if (code !== 0) throw new Error(`${[program, ...args].join(" ")}: ${stderr.trim()}`);
}

/** The first three numbers of a network that this machine has no address in. */
function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));
  for (;;) {
    const subnet = `10.213.${randomInt(0, 256)}`;
    if (!taken.some((address) => address.startsWith(`${subnet}.`))) return subnet;
  }
}
