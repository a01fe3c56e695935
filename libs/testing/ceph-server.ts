import { type ChildProcess, execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { end, launch } from "./test-server.ts";

const run = promisify(execFile);

/** A real S3 server for a test. It dies with the test's process at the latest. */
export interface S3Server extends AsyncDisposable {
  /** http://127.0.0.1:33080 */
  readonly url: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Runs radosgw-admin with these. */
  admin(...args: readonly string[]): Promise<void>;
}

/** Ceph's S3 gateway over a cluster of one monitor and one store in memory. Takes about five seconds. */
export async function startCeph(): Promise<S3Server> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const [monPort, s3Port] = [await freePort(), await freePort()];
  const fsid = randomUUID();
  const conf = join(folder, "ceph.conf");
  await writeFile(conf, configuration({ folder, fsid, monPort, s3Port }));
  for (const name of ["mon", "osd", "rgw"]) await mkdir(join(folder, name));
  const start = async (argv: string[], port?: number) => {
    stack.adopt<ChildProcess>(await launch([...argv, "-f", "-c", conf], port, folder), (it) => end(it, "SIGKILL"));
  };
  const monmap = join(folder, "monmap");
  await run("monmaptool", ["--create", "--addv", "a", `v2:127.0.0.1:${monPort}`, "--fsid", fsid, monmap]);
  await run("ceph-mon", ["--mkfs", "-i", "a", "--monmap", monmap, "-c", conf]);
  await start(["ceph-mon", "-i", "a"], monPort);
  const osd = randomUUID();
  await eventually(() => run("ceph", ["-c", conf, "--connect-timeout", "5", "osd", "new", osd]), {
    deadlineMs: 30_000,
  });
  await run("ceph-osd", ["-i", "0", "--mkfs", "--osd-uuid", osd, "-c", conf]);
  await start(["ceph-osd", "-i", "0"]);
  await run("ceph-authtool", ["--create-keyring", join(folder, "rgw", "keyring"), "--gen-key", "-n", "client.rgw"]);
  const [accessKey, secretKey] = [randomUUID(), randomUUID()];
  const admin = async (...args: readonly string[]) => {
    await run("radosgw-admin", ["-c", conf, ...args]);
  };
  const keys = [`--access-key=${accessKey}`, `--secret=${secretKey}`];
  await admin("user", "create", "--uid=test", "--display-name=test", ...keys);
  await start(["radosgw", "-n", "client.rgw"], s3Port);
  const owned = stack.move();
  return {
    url: `http://127.0.0.1:${s3Port}`,
    accessKey,
    secretKey,
    admin,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface ClusterOptions {
  readonly folder: string;
  readonly fsid: string;
  readonly monPort: number;
  readonly s3Port: number;
}

/** Quick to start, without authentication between its parts, nothing on disk but the monitor's maps. */
function configuration({ folder, fsid, monPort, s3Port }: ClusterOptions): string {
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monPort}
mon initial members = a
public addr = 127.0.0.1
ms bind msgr1 = false
ms mon client mode = crc
auth cluster required = none
auth service required = none
auth client required = none
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.02
paxos min wait = 0.01
mon data avail crit = 0
run dir = ${folder}
crash dir = ${folder}
admin socket = ${folder}/$name.asok
log file = ${folder}/$name.log
mon data = ${folder}/mon
osd data = ${folder}/osd
rgw data = ${folder}/rgw
pid file =
rgw frontends = beast endpoint=127.0.0.1:${s3Port}
rgw enable apis = s3
`;
}
