import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { atParentsEnd, enterLab, type LabProcess } from '../../src/lab/index.ts';

/**
 * Tests of one file that share one lab, one after the other:
 *
 *     const test = await labSuite(import.meta.filename, async () => await Stage.open());
 *     test('a behaviour', async (stage) => { assert.equal(…) });
 *
 * The file is loaded twice: by ava, for which every test only asks for its body to be run and waits for the answer; and as
 * the first program in the lab's namespaces (`lab-suite-inside.ts`), where the bodies run with what `setUp` made. Bodies
 * therefore assert with `node:assert`.
 */
export type LabSuite<Stage> = (title: string, body: (stage: Stage) => Promise<void>) => void;

const inside = fileURLToPath(new URL('lab-suite-inside.ts', import.meta.url));
/** The kubelet, the rules and a dozen Node programs start before the first test. */
const SET_UP_MILLISECONDS = 90_000;
const TEST_MILLISECONDS = 90_000;

const answerSchema = z.object({ title: z.string(), error: z.string().optional() });
type Answer = z.infer<typeof answerSchema>;

/** Title of the pseudo test that stands for `setUp`. */
const SET_UP = '';

export async function labSuite<Stage>(file: string, setUp: () => Promise<Stage>): Promise<LabSuite<Stage>> {
  if (process.argv[1] === inside) return serveSuite(setUp);
  const { default: test } = await import('ava');
  const suite = new RemoteSuite();
  test.before('the lab', async (t) => {
    t.timeout(SET_UP_MILLISECONDS);
    t.is(await suite.open(file), undefined);
  });
  test.after.always('the lab ends', async () => await suite.close());
  return (title) => {
    test.serial(title, async (t) => {
      t.timeout(TEST_MILLISECONDS);
      t.is(await suite.run(title), undefined);
    });
  };
}

/** ava's side: the lab's process, and who waits for which answer. */
class RemoteSuite {
  readonly #waiting = new Map<string, (error: string | undefined) => void>();
  #lab: LabProcess | undefined;

  /** Starts the lab; resolves with what went wrong. */
  async open(file: string): Promise<string | undefined> {
    const ready = this.#answerTo(SET_UP);
    const lab = await enterLab([process.execPath, '--disable-warning=ExperimentalWarning', inside, file]);
    this.#lab = lab;
    lab.child.on('message', (message) => {
      const answer: Answer = answerSchema.parse(message);
      this.#waiting.get(answer.title)?.(answer.error);
    });
    void lab.ended.then(({ code, signal }) => {
      for (const settle of this.#waiting.values()) settle(`the lab ended with ${signal ?? `exit code ${code}`}`);
    });
    return await ready;
  }

  /** Has a test's body run; resolves with what went wrong. */
  async run(title: string): Promise<string | undefined> {
    const child: ChildProcess | undefined = this.#lab?.child;
    if (child?.connected !== true) return 'there is no lab';
    const answer = this.#answerTo(title);
    child.send({ title });
    return await answer;
  }

  /** The kernel ends all that is in the lab. */
  async close(): Promise<void> {
    await this.#lab?.close();
  }

  #answerTo(title: string): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.#waiting.set(title, (error) => {
        this.#waiting.delete(title);
        resolve(error);
      });
    });
  }
}

/** The lab's side: registers the bodies, and runs what ava asks for once `setUp` is done. */
function serveSuite<Stage>(setUp: () => Promise<Stage>): LabSuite<Stage> {
  const bodies = new Map<string, (stage: Stage) => Promise<void>>();
  const stage = Promise.withResolvers<Stage>();
  stage.promise.catch(() => undefined); // told as the answer to SET_UP
  const answer = async (title: string, work: () => Promise<unknown>): Promise<void> => {
    const message: Answer = { title };
    try {
      await work();
    } catch (error) {
      message.error = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    if (process.connected) process.send?.(message);
  };
  process.on('message', (message) => {
    const { title } = z.object({ title: z.string() }).parse(message);
    const body = bodies.get(title);
    void answer(title, async () => {
      if (body === undefined) throw new Error(`${title}: no such test in the lab`);
      await body(await stage.promise);
    });
  });
  atParentsEnd(() => process.exit(1));
  void answer(SET_UP, async () => {
    setUp().then(stage.resolve, stage.reject);
    await stage.promise;
  });
  return (title, body) => void bodies.set(title, body);
}
