import { simulate } from "./simulation.ts";

const t = performance.now();
for (let i = 1; i <= 300; i++) await simulate(i);
console.log((performance.now() - t) / 300, "ms per seed");
