import { expectLine, interrupt, kpctl, onLaptop, startOnLaptop, type Stage } from './stage.ts';

/** What each peer sees of a conversation that A's or B's half-close ends. */
function transcript(name: 'A' | 'B', closesFirst: 'A' | 'B'): string {
  const talk =
    name === 'A'
      ? ['A says hello', 'A hears hi', 'A hears goodbye', 'A says bye']
      : ['B hears hello', 'B says hi', 'B says goodbye', 'B hears bye'];
  const end =
    name === closesFirst
      ? [`${name} half-closes`, `${name} hears last word`, `${name} sees the end`]
      : [`${name} sees the end`, `${name} says last word`];
  return [...talk, ...end, 'done'].join('\n');
}

const rounds = [
  { title: 'the dialling side closes first', flag: [], other: false },
  { title: 'the listening side closes first', flag: ['--they-close-first'], other: true },
] as const;

/** Chat, TCP, peer to peer: A and B local; then A local and B in its pod, each dialling the other. */
export async function playChat(stage: Stage): Promise<void> {
  stage.tell('Chat: two peers, A and B, plain TCP. A says hello, B hi; B goodbye, A bye; a half-close each way.');

  stage.tell(' both on the laptop, directly');
  await bothLocal(stage, 'A', 'B');
  await bothLocal(stage, 'B', 'A');

  stage.tell(' A on the laptop dials B in its pod, by name: kpctl run -- chat A --dial chat-b:7000');
  for (const round of rounds) {
    const argv = [...stage.example, 'chat', 'A', '--dial', 'chat-b:7000', ...round.flag];
    const outcome = await onLaptop(stage, kpctl(stage, 'run', '--', ...argv));
    expectLine(stage, round.title, said(outcome.stdout, outcome.stderr), transcript('A', round.other ? 'B' : 'A'));
  }

  stage.tell(' B in its pod dials A, whose port is intercepted: kpctl intercept chat-a --port LOCAL:7000');
  await using local = startOnLaptop(stage, [...stage.example, 'chat', 'A', '--listen', '0']);
  const port = (await local.waitForLine(/listens on \d+/)).split(' ').at(-1) ?? '';
  await using intercept = startOnLaptop(stage, kpctl(stage, 'intercept', 'chat-a', '--port', `${port}:7000`));
  await intercept.waitForLine(/^ready$/);
  for (const round of rounds) {
    const seen = local.lines.length;
    const argv = [...stage.example, 'chat', 'B', '--ask', 'chat-b:7001', ...round.flag];
    const outcome = await onLaptop(stage, kpctl(stage, 'run', '--', ...argv));
    expectLine(stage, `${round.title}, seen by B`, said(outcome.stdout, outcome.stderr), transcript('B', round.other ? 'A' : 'B'));
    await local.waitForLine(/^(done|failed)/);
    expectLine(stage, `${round.title}, seen by A`, local.lines.slice(seen).join('\n'), transcript('A', round.other ? 'A' : 'B'));
  }
  await interrupt(stage, intercept, 'kpctl intercept', 'SIGINT', 130);
}

async function bothLocal(stage: Stage, listener: 'A' | 'B', dialler: 'A' | 'B'): Promise<void> {
  await using local = startOnLaptop(stage, [...stage.example, 'chat', listener, '--listen', '0']);
  const port = (await local.waitForLine(/listens on \d+/)).split(' ').at(-1) ?? '';
  for (const round of rounds) {
    const argv = [...stage.example, 'chat', dialler, '--dial', `127.0.0.1:${port}`, ...round.flag];
    const outcome = await onLaptop(stage, argv);
    const closes = round.other ? listener : dialler;
    expectLine(stage, `${dialler} dials, ${round.title}`, said(outcome.stdout, outcome.stderr), transcript(dialler, closes));
  }
}

function said(stdout: string, stderr: string): string {
  return stdout.trim() === '' ? stderr.trim() : stdout.trim();
}
