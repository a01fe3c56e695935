import { expect, test } from "vitest";
import type { AccountKind, RepositoryAction } from "#contracts/registry/v1/accounts";
import { systemRandom } from "#libs/clock";
import { DockerEngine } from "../../services/agent/docker/docker-engine.ts";
import { startRegistryCluster } from "../../services/registry/testing/registry-cluster.ts";
import { ContainerHost } from "../harness/container-host.ts";
import { busyboxImage, pushImage } from "../images/build.ts";

test("the engine of a host pulls and pushes as the host's account of the registry, what that may and no more", async () => {
  await using registry = await startRegistryCluster();
  const address = new URL(registry.url).host;
  const account = async (name: string, repositories: string, ...actions: RepositoryAction[]) => {
    const kind: AccountKind = "ACCOUNT_KIND_ROBOT";
    const rights = [{ repositories, actions }];
    const { secret } = await registry.accounts.createAccount({ name: `registry/accounts/${name}`, kind, rights });
    return { username: name, password: secret };
  };
  const pusher = await account("pusher", "*", "REPOSITORY_ACTION_PULL", "REPOSITORY_ACTION_PUSH");
  const puller = await account("host", "team/*", "REPOSITORY_ACTION_PULL");
  await using host = await ContainerHost.start(() => ({
    REGISTRY_HTTP_URL: registry.url,
    STILLPOINT_REGISTRY_USER: puller.username,
    STILLPOINT_REGISTRY_PASSWORD: puller.password,
  }));
  const tag = await busyboxImage(host.engine);
  const push = async (repository: string) =>
    (await pushImage(host.engine, tag, address, repository, pusher)).slice(`${address}/`.length);
  await using container = await host.create(await push("team/web"));
  await container.start();
  expect((await container.run("echo", "pulled")).text).toBe("pulled\n");
  const forbidden = await push("other/web");
  await expect(host.create(forbidden)).rejects.toMatchObject({
    reason: expect.stringMatching(/^(REGISTRY_LOGIN|IMAGE_NOT_FOUND)$/),
  });

  const engine = new DockerEngine({ socketPath: host.engine.socketPath, hostData: systemRandom.id("host") });
  const control = { signal: AbortSignal.timeout(30_000), progress: () => undefined };
  const repository = `${address}/team/copy`;
  await engine.images.tag(tag, { repository, tag: "1" });
  await expect(engine.images.push(`${repository}:1`, puller, control)).rejects.toMatchObject({
    reason: "REGISTRY_LOGIN",
  });
  const { digest } = await engine.images.push(`${repository}:1`, pusher, control);
  await engine.images.remove(`${repository}:1`);
  await engine.images.pull(`${repository}@${digest}`, puller, control);
  expect(await engine.images.find(`${repository}@${digest}`)).toMatchObject({ architecture: "amd64" });
  await engine.images.remove(`${repository}@${digest}`);
});
