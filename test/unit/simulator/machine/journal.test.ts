import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { HeldJournal, journalPath, parseJournal, type JournalOwner } from '../../../../src/simulator/machine/journal.ts';
import { isAlive, leftovers, owner, startOf, thisBoot, thisNetwork } from '../../../../src/simulator/machine/owner.ts';

function folder(teardown: (undo: () => void) => void): string {
  const path = mkdtempSync(join(tmpdir(), 'kp-journal-'));
  teardown(() => rmSync(path, { recursive: true, force: true }));
  return join(path, 'kpctl', 'journal');
}

function me(): JournalOwner {
  return {
    boot: thisBoot(),
    network: thisNetwork(),
    pid: process.pid,
    started: startOf(process.pid) ?? '',
    uid: 1000,
    name: 'alice',
    since: 0,
  };
}

function take(path: string): HeldJournal {
  const journal = HeldJournal.take(path);
  if (journal === undefined) throw new Error('somebody has it');
  return journal;
}

test('what was set and not deleted is found again, in the order in which it was first set', (t) => {
  const directory = folder((undo) => t.teardown(undo));
  const path = journalPath(1, directory);
  const first = take(path);
  first.own(me());
  first.set('a', { value: 1 });
  first.set('names/b', { value: 2 });
  first.set('c', { value: 3 });
  first.set('a', { value: 4 });
  first.delete('c');
  first.end();
  const second = take(path);
  t.deepEqual(
    [...second.found.entries],
    [
      ['a', { value: 4 }],
      ['names/b', { value: 2 }],
    ],
  );
  t.is(second.found.owner?.name, 'alice');
  second.delete('a');
  second.delete('names/b');
  second.end();
  t.false(existsSync(directory), 'with nothing to undo neither file nor folder is left');
});

test('one process has it at a time', (t) => {
  const path = journalPath(
    1,
    folder((undo) => t.teardown(undo)),
  );
  const held = take(path);
  t.is(HeldJournal.take(path), undefined);
  held.end();
  take(path).end();
});

test('a line that was cut short by a loss of power is passed over, and what is written after it is not lost', (t) => {
  const path = journalPath(
    1,
    folder((undo) => t.teardown(undo)),
  );
  const first = take(path);
  first.set('a', { value: 1 });
  first.end();
  writeFileSync(path, `${readFileSync(path, 'utf8')}{"key":"b","val`);
  const second = take(path);
  t.deepEqual([...second.found.entries.keys()], ['a']);
  second.set('c', {});
  second.end();
  t.deepEqual([...parseJournal(readFileSync(path, 'utf8')).entries.keys()], ['a', 'c']);
});

test('everybody sees who has joined, and what a dead one has left', (t) => {
  const directory = folder((undo) => t.teardown(undo));
  t.is(owner(directory), undefined);
  t.is(leftovers(directory), undefined);
  const journal = take(journalPath(thisNetwork(), directory));
  journal.own(me());
  t.like(owner(directory), { pid: process.pid, uid: 1000, name: 'alice' });
  journal.set('network/rules', {});
  t.is(leftovers(directory), undefined);
  // A process of that number that began at another time is another one.
  journal.own({ ...me(), started: '1' });
  t.is(owner(directory), undefined);
  t.is(leftovers(directory)?.name, 'alice');
  journal.delete('network/rules');
  t.is(leftovers(directory), undefined, 'killed before it had changed anything');
  journal.end();
});

test('what an earlier boot has left is left here, and what a living network namespace has is not', (t) => {
  const directory = folder((undo) => t.teardown(undo));
  const other = take(journalPath(1, directory));
  other.own({ ...me(), network: 1, started: '1' });
  other.set('names/a', {});
  t.is(leftovers(directory), undefined);
  other.own({ ...me(), network: 1, boot: 'an earlier one' });
  t.is(leftovers(directory)?.name, 'alice');
  t.false(isAlive({ ...me(), boot: 'an earlier one' }));
});

test("every user can read it, also where root's files are not for others", (t) => {
  const path = journalPath(
    1,
    folder((undo) => t.teardown(undo)),
  );
  const journal = new URL('../../../../src/simulator/machine/journal.ts', import.meta.url).href;
  const code = `const { HeldJournal } = await import('${journal}'); HeldJournal.take('${path}');`;
  execFileSync('/bin/sh', [
    '-c',
    'umask 077; exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"',
    process.execPath,
    code,
  ]);
  t.deepEqual(
    [path, dirname(path), dirname(dirname(path))].map((one) => (statSync(one).mode & 0o777).toString(8)),
    ['644', '755', '755'],
  );
});

test('an entry of which the disk has taken a part only is an error, and what is written after it is not lost', (t) => {
  const path = journalPath(
    1,
    folder((undo) => t.teardown(undo)),
  );
  const journal = new URL('../../../../src/simulator/machine/journal.ts', import.meta.url).href;
  const code = [
    `import { execFileSync } from 'node:child_process';`,
    `const { HeldJournal } = await import('${journal}');`,
    `const journal = HeldJournal.take('${path}');`,
    `const limit = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':']);`,
    `limit(100);`,
    `try { journal.set('a', { text: 'a'.repeat(200) }); process.stdout.write('taken'); } catch { process.stdout.write('refused'); }`,
    `limit(100_000);`,
    `journal.set('b', { text: 'b' });`,
  ].join('\n');
  const said = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code], {
    encoding: 'utf8',
  });
  t.is(said, 'refused');
  t.deepEqual([...parseJournal(readFileSync(path, 'utf8')).entries], [['b', { text: 'b' }]]);
});
