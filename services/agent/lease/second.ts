import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const PROGRAM = join(import.meta.dirname, "fence-second.ts");
const PID_FILE = "second.pid";
const AGAIN_MS = 1_000;
/** It has little to do when its guard is gone. */
const LAST_MS = 3_000;

/** The process that freezes the guard's containers when the guard dies, as the guard sees it; there while there are any. */
export class Second {
  #child: ChildProcess | undefined;
  #ids: readonly string[] = [];

  /** Tells it what it would have to freeze; starts it with the first, ends it after the last. */
  tell(ids: readonly string[]): void {
    this.#ids = ids;
    if (ids.length > 0 && this.#child === undefined) this.#start();
    this.#child?.stdin?.write(`${JSON.stringify(ids)}\n`);
    if (ids.length > 0) return;
    this.#child?.stdin?.end();
    this.#child = undefined;
  }

  #start(): void {
    const child = spawn(process.execPath, ["--max-old-space-size=16", PROGRAM], {
      detached: true,
      stdio: ["pipe", "ignore", "inherit"],
    });
    this.#child = child;
    child.stdin.on("error", () => undefined); // "exit" follows
    child.once("spawn", () => writeFileSync(PID_FILE, String(child.pid)));
    child.once("error", () => this.#again(child));
    child.once("exit", () => this.#again(child));
  }

  #again(former: ChildProcess): void {
    if (this.#child !== former) return;
    setTimeout(() => {
      if (this.#child !== former) return;
      this.#child = undefined;
      this.tell(this.#ids);
    }, AGAIN_MS);
  }
}

/** Waits until the second of a guard that is gone has done its part: what it freezes later, nobody would let go on. */
export async function formerSecondGone(): Promise<void> {
  const giveUp = performance.now() + LAST_MS;
  for (let pid = formerSecond(); pid !== undefined; pid = formerSecond()) {
    if (performance.now() > giveUp) process.kill(pid, "SIGKILL");
    await delay(5);
  }
}

function formerSecond(): number | undefined {
  try {
    const pid = Number(readFileSync(PID_FILE, "utf8"));
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(PROGRAM) ? pid : undefined;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
