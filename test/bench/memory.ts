/** 1 GiB to a reader that stops for 10 s: how much each end's resident memory grows. `node test/bench/memory.ts` */
import { stalledReader } from './stalled-reader.ts';

const { received, growth } = await stalledReader(2 ** 30, 10_000, 0);
const [laptop, pod] = growth.map((bytes) => (bytes / 2 ** 20).toFixed(1));
process.stdout.write(`${received} bytes arrived; resident memory grew by ${laptop} MiB (laptop), ${pod} MiB (pod)\n`);
