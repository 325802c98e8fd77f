"""A bare client: `PORT CA_FILE COUNT LETTERS`. Each time connect, TLS, EHLO, AUTH, LETTERS letters (0: none), QUIT.

aiosmtplib on uvloop, 50 connections at once, bytes made beforehand: what a new connection costs when nothing is kept,
nothing written down and nothing decided. Prints CPU seconds and wall seconds.
"""

import asyncio
import resource
import ssl
import sys
import time

import aiosmtplib
import uvloop

AT_ONCE = 50
HEADERS = b"From: <a@northwind.test>\r\nTo: <b@firm.example>\r\nSubject: A letter\r\n\r\n"
LETTER = HEADERS + (b"y" * 70 + b"\r\n") * 27


async def client(port: int, context: ssl.SSLContext, count: int, letters: int) -> None:
    for _ in range(count):
        smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=True, tls_context=context, timeout=60)
        await smtp.connect()
        await smtp.ehlo()
        await smtp.execute_command(b"AUTH", b"PLAIN", b"AGFubmEAbm90LWEtc2VjcmV0")
        for _ in range(letters):
            await smtp.sendmail("a@northwind.test", ["b@firm.example"], LETTER)
        await smtp.quit()


async def main() -> None:
    port, ca_file, count, letters = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    context = ssl.create_default_context(cafile=ca_file)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(client(port, context, count // AT_ONCE, letters))
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(cpu, ended - began)


if __name__ == "__main__":
    uvloop.run(main())
