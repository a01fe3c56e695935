import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Of more than a minute on two cores, the slowest first. */
const slow = ["kill-at-steps", "replicas", "compose", "host-failure", "databases", "merge-down", "disaster", "drill"];

const isSlow = ({ moduleId }: TestSpecification, name: string): boolean => moduleId.includes(`/${name}.`);

/**
 * Files that take long begin first, so that none is left to run alone at the end. Vitest itself goes by their size where
 * it has not seen them run, as in a fresh clone.
 */
export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const first = slow.flatMap((name) => sorted.filter((file) => isSlow(file, name)));
    return [...first, ...sorted.filter((file) => !first.includes(file))];
  }
}
