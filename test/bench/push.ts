import { join } from "node:path";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { openGuestDisk } from "#libs/disk-image";
import { changedBytes, type OwnLayer, ownLayers, type ReceiptDisk } from "../harness/own-layers.ts";
import { expectSuccess, untilDone } from "../harness/vm-client.ts";
import { type BenchStage, openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";
import { nameOf } from "./checkpoint-client.ts";

const diskGiB = [1, 10, 50] as const;
const rounds = 5;
const files = 1_000;
/** Written with one command. */
const atOnce = 500;
const edited = 150;
const logs = 20;
/** In each round. */
const deleted = 40;
const readAtOnce = 256 * 1024;
const MIB = 2 ** 20;

interface Round {
  readonly pushMs: number;
  /** Of reading the clusters that changed, and nothing more. */
  readonly readMs: number;
  readonly sentBytes: number;
  readonly changedBytes: number;
}

/**
 * The push of the next checkpoint: what it sends for what changed, and how long it takes with disks of 1, 10 and 50 GiB,
 * on which the same is changed in turn. Bare is to map the checkpoint's own layers and to read their clusters.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openBenchStage();
  for (const size of diskGiB) {
    const sent = await seed(stage, size);
    console.log(`${size} GiB: the first push sends ${(sent / MIB).toFixed(0)} MiB`);
  }
  const found = new Map<number, Round[]>(diskGiB.map((size) => [size, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [size, done] of found) {
      const result = await pushNext(stage, vmOf(size), round);
      done.push(result);
      console.log(`${size} GiB: ${tell(result)}`);
    }
  }
  return resultOf((size) => found.get(size) ?? []);
}

const vmOf = (size: number) => `push-${size}`;

/** 250 MiB in files, and a first checkpoint pushed; gives the bytes that it sent. The disk is quiet afterwards. */
async function seed(stage: BenchStage, size: number): Promise<number> {
  const vm = vmOf(size);
  await stage.boot(vm, "--disk", `${size}GiB`);
  // Else ext4 goes on zeroing the inode tables of a large disk in the background, and that is change too.
  await stage.shell(vm, "mount -o remount,noinit_itable /data2 && mkdir /data2/files /data2/old /data2/logs");
  for (let first = 1; first <= files; first += atOnce) {
    await write(stage, vm, "files/$n", { first, last: first + atOnce - 1, bytes: 256 * 1024 });
  }
  await write(stage, vm, "old/$n", { first: 1, last: deleted * rounds, bytes: 40_000 });
  await write(stage, vm, "logs/$n", { first: 1, last: logs, bytes: 200_000 });
  const { name } = await stage.api.take(vm, CheckpointType.PRODUCTION_ONLY);
  const { sentBytes } = await push(stage, name, `checkpoints/${vm}:first`);
  return sentBytes;
}

interface Files {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

async function write({ shell }: BenchStage, vm: string, path: string, { first, last, bytes }: Files): Promise<void> {
  await shell(
    vm,
    `set -e; cd /data2; for n in $(seq ${first} ${last}); do head -c ${bytes} /dev/urandom >${path}; done; sync`,
  );
}

/** 150 files edited near their start, one of 15 MB added, logs appended to, files deleted: others in each round. */
async function change({ shell }: BenchStage, vm: string, round: number): Promise<void> {
  const apart = Math.floor(files / edited);
  const script = [
    "set -e; cd /data2",
    `for n in $(seq ${1 + round} ${apart} ${apart * edited}); do head -c 3000 /dev/urandom | dd of=files/$n bs=1000 seek=7 conv=notrunc 2>/dev/null; done`,
    `head -c 15000000 /dev/urandom >big-${round}`,
    `for n in $(seq ${logs}); do head -c 5000 /dev/urandom >>logs/$n; done`,
    `for n in $(seq ${1 + round} ${rounds} ${deleted * rounds}); do rm old/$n; done`,
    "sync",
  ];
  await shell(vm, script.join("; "));
}

async function pushNext(stage: BenchStage, vm: string, round: number): Promise<Round> {
  await change(stage, vm, round);
  const { name, receipt } = await stage.api.take(vm, CheckpointType.PRODUCTION_ONLY);
  const { disks = [] } = (receipt ?? {}) as { disks?: ReceiptDisk[] };
  const { uid } = await stage.api.vms.getVm({ name: nameOf(vm) });
  const { sentBytes, pushMs } = await push(stage, name, `checkpoints/${vm}:next-${round}`);
  const data = join(stage.product.folder, "data");
  const readMs = await timed(async () => {
    for (const layer of await ownLayers(data, uid ?? "", disks)) await readThrough(layer);
  });
  return { pushMs, readMs, sentBytes, changedBytes: changedBytes(await ownLayers(data, uid ?? "", disks)) };
}

/** The whole operation, as its user waits for it. */
async function push({ api }: BenchStage, checkpoint: string, reference: string) {
  let sentBytes = Number.NaN;
  const pushMs = await timed(async () => {
    const { name } = await api.checkpoints.pushCheckpoint({ name: checkpoint, reference });
    const ended = await untilDone(api.operations, name);
    expectSuccess(ended);
    sentBytes = Number(ended.output?.bytesSent);
  });
  return { sentBytes, pushMs };
}

async function readThrough({ path, ranges }: OwnLayer): Promise<void> {
  await using disk = await openGuestDisk({ path, format: "qcow2" });
  for (const { offset, length } of ranges) {
    for (let done = 0; done < length; done += readAtOnce) {
      await disk.read(offset + done, Math.min(readAtOnce, length - done));
    }
  }
}

const tell = ({ pushMs, readMs, sentBytes, changedBytes: changed }: Round) =>
  `push ${pushMs.toFixed(0)} ms, bare read ${readMs.toFixed(0)} ms; ` +
  `changed ${(changed / MIB).toFixed(1)} MiB, sent ${(sentBytes / MIB).toFixed(1)} MiB`;

function resultOf(of: (size: number) => readonly Round[]): BenchmarkResult {
  const middle = (size: number, value: (round: Round) => number) => median(of(size).map(value));
  const [small, , large] = diskGiB;
  const metrics: Record<string, number> = {
    push_sent_bytes: middle(small, ({ sentBytes }) => sentBytes),
    push_sent_to_changed_ratio: middle(small, (round) => round.sentBytes / round.changedBytes),
  };
  const baseline: Record<string, number> = { push_sent_bytes: middle(small, (round) => round.changedBytes) };
  for (const size of diskGiB) {
    metrics[`push_${size}_gib_ms`] = middle(size, ({ pushMs }) => pushMs);
    baseline[`push_${size}_gib_ms`] = middle(size, ({ readMs }) => readMs);
    metrics[`changed_${size}_gib_mib`] = middle(size, (round) => round.changedBytes / MIB);
  }
  // Within a round: a busy host slows both.
  const ratios = of(large).map(({ pushMs }, round) => pushMs / (of(small)[round]?.pushMs ?? Number.NaN));
  return { metrics: { ...metrics, [`push_${large}_gib_to_${small}_gib_ratio`]: median(ratios) }, baseline };
}
