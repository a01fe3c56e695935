import type { TestEngine } from "#libs/testing";
import type { DeployedCluster } from "../harness/deployed-cluster.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { expect, type Report } from "./report.ts";

const program = "while :; do sleep 0.2; done";

/** A container on the host with an engine is checkpointed, loses its data and gets it back: `box`. */
export async function bringBackContainer(cluster: DeployedCluster, engine: TestEngine, report: Report): Promise<void> {
  await report.step("push a container image", async () => {
    const registry = new URL(cluster.registryUrl).host;
    await pushImage(engine, await busyboxImage(engine), registry, "tools/busybox", cluster.engineLogin);
    return `${registry}/tools/busybox`;
  });
  await report.step("run a container with a volume", async () => {
    const line = ["--image", "tools/busybox:latest", "--volume", "data:/data", "--", "sh", "-c", program];
    await succeed(cluster, "container", "run", "box", ...line);
    await inBox(cluster, "echo precious >/data/file");
    const { host } = (await cluster.json("container", "get", "box")) as { host?: string };
    return `box runs on ${host}`;
  });
  await report.step("checkpoint it, destroy its data, apply the checkpoint", async () => {
    await cluster.json("checkpoint", "create", "container/box", "--name", "before");
    await inBox(cluster, "rm /data/file");
    await cluster.json("checkpoint", "apply", "container/box", "before", "--yes");
    await cluster.json("container", "start", "box");
    const file = await inBox(cluster, "cat /data/file");
    expect(file === "precious", `the volume has ${file}`);
    return "its volume is as it was";
  });
}

const inBox = (cluster: DeployedCluster, command: string): Promise<string> =>
  succeed(cluster, "container", "exec", "box", "--", "sh", "-c", command);

async function succeed(cluster: DeployedCluster, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.stillpoint(...args);
  expect(code === 0, `stillpoint ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout.trim();
}
