import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type Dockerode from "dockerode";
import { StillpointError } from "#libs/errors";
import type { EngineFacts } from "../container-engine.ts";
import { getJson } from "./dial.ts";
import { askEngine } from "./engine-error.ts";

const run = promisify(execFile);
const PROBE_MS = 10_000;

/** Architectures as images name them, by the kernel's names. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64", armv7l: "arm" };

interface Info {
  readonly ServerVersion: string;
  readonly Architecture: string;
  readonly SecurityOptions?: readonly string[];
  readonly DockerRootDir: string;
  readonly ExperimentalBuild?: boolean;
}

/** Asks Docker Engine what it is; gives up after 10 s. */
export async function probeDocker(docker: Dockerode): Promise<EngineFacts> {
  const info = await askEngine("probing", () => readInfo(docker));
  return {
    version: info.ServerVersion,
    architecture: ARCHITECTURES[info.Architecture] ?? info.Architecture,
    firstUser: firstUser(info),
    dataFolder: info.DockerRootDir,
    canCheckpoint: info.ExperimentalBuild === true && (await criuWorks()),
  };
}

async function readInfo(docker: Dockerode): Promise<Info> {
  const signal = AbortSignal.timeout(PROBE_MS);
  try {
    return (await getJson(docker, { path: "/info", signal })) as Info;
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new StillpointError("ENGINE_UNAVAILABLE", `the container engine has not answered in ${PROBE_MS / 1000} s`, {
      cause: error,
    });
  }
}

/** With userns-remap Docker keeps its data in a folder named for the first user and group. */
function firstUser({ SecurityOptions = [], DockerRootDir }: Info): EngineFacts["firstUser"] {
  if (!SecurityOptions.some((option) => /\bname=userns\b/.test(option))) return undefined;
  const [, uid, gid] = /\/(\d+)\.(\d+)$/.exec(DockerRootDir) ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

async function criuWorks(): Promise<boolean> {
  return await run("criu", ["check"], { timeout: PROBE_MS }).then(
    () => true,
    () => false,
  );
}
