import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { ContainerSpec } from "#contracts/container/v1/container";
import { dockerEngine } from "#libs/testing";
import { runCommand } from "../harness/command.ts";
import { connectContainers } from "../harness/container-client.ts";
import { startTestProduct } from "../harness/product.ts";
import { startRegistryProxy } from "../harness/registry-proxy.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { smallImage } from "../images/small-image.ts";

const limits = { cpuMillis: 100, memoryBytes: 2 ** 24, pids: 0 };
const name = "projects/default/containers/app";

test("an image of one installation runs unchanged on another, by its digest, and is pulled once", async () => {
  await using stack = new AsyncDisposableStack();
  const engine = stack.use(await dockerEngine());
  const proxy = stack.use(await startRegistryProxy());
  const AGENT_DOCKER_HOST = `unix://${engine.socketPath}`;
  const [development, production] = await Promise.all([
    startTestProduct({ AGENT_DOCKER_HOST }),
    startTestProduct({ AGENT_DOCKER_HOST, REGISTRY_HTTP_URL: proxy.url }),
  ]);
  stack.use(development);
  stack.use(production);
  proxy.target = production.registryUrl;
  const [there, here] = [development, production].map(({ address }) => stack.use(connectContainers(address)));

  const version = randomBytes(8).toString("hex");
  const built = stack.use(
    await smallImage(engine, "app", {
      dockerfile: [
        `FROM ${await busyboxImage(engine)}`,
        "COPY version /",
        'CMD ["sh", "-c", "cat /version; sleep 1000"]',
      ],
      files: { version },
    }),
  );
  const hostOf = ({ registryUrl }: { readonly registryUrl: string }) => new URL(registryUrl).host;
  const pushed = await pushImage(engine, built.tag, hostOf(development), "team/app");
  const digest = pushed.slice(pushed.indexOf("@") + 1);
  await engine.docker.getImage(built.tag).remove({ force: true });
  const spec = ContainerSpec.fromPartial({ image: `team/app@${digest}`, limits });
  const tried = await there?.run("app", spec);

  // promote {
  const from = `docker://${hostOf(development)}/team/app@${digest}`;
  const to = `docker://${hostOf(production)}/team/app:1.4.2`;
  const promoted = await runCommand("skopeo", [
    ...["copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"],
    ...[from, to],
  ]);
  // }
  expect(promoted).toMatchObject({ code: 0 });
  await development[Symbol.asyncDispose](); // it is needed no more

  const runs = await here?.run("app", { ...spec, image: "team/app:1.4.2" });
  expect(runs).toMatchObject({ imageDigest: `team/app@${digest}`, state: "CONTAINER_STATE_RUNNING" });
  expect(runs?.imageDigest).toBe(tried?.imageDigest);
  expect((await here?.shell("app", "cat /version"))?.text).toBe(version);
  expect(proxy.requests.some((request) => request.includes(`/v2/team/app/manifests/${digest}`))).toBe(true);

  proxy.requests.length = 0;
  await here?.run("second", spec);
  await here?.done(here.containers.deleteContainer({ name, force: true }));
  await here?.run("app", { ...spec, image: "team/app:1.4.2" });
  expect(proxy.requests).toEqual([]);
}, 120_000);
