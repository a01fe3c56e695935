import { afterAll, beforeAll, describe } from "vitest";
import { ConformanceClient } from "./conformance-client.ts";

/** Those of the test file that runs. */
const clients = new Map([1, 2].map((replicas) => [replicas, new ConformanceClient(replicas)]));
afterAll(async () => {
  for (const client of clients.values()) await client.stop();
});

/** Runs the tests of a section of the specification with a login, against one replica and behind two that take turns. */
export function describeRegistry(section: string, tests: (client: ConformanceClient) => void): void {
  describe.each([...clients])(`${section} (replicas: %i)`, (_replicas, client) => {
    beforeAll(() => client.start());
    tests(client);
  });
}
