"""Tests of creating, cloning, stopping and deleting jobs in the page."""

import re

from playwright.async_api import Locator, Page, expect

from jobworker.v1 import job_pb2, job_service_pb2
from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.faults import Faults
from tests.browser.locators import button, log, row

JOB_PATH = re.compile(r"/jobs/([0-9a-f-]{36})$")


def field(page: Page, name: str) -> Locator:
    """Return a field of the form."""
    return page.get_by_label(name, exact=True)


async def created(page: Page, admin: Client) -> job_pb2.Job:
    """Submit the form, and return the job whose page opens."""
    await button(page, "Create job").click()
    await expect(page).to_have_url(JOB_PATH)
    found = JOB_PATH.search(page.url)
    assert found
    return await admin.get(found[1])


async def test_create_a_job(open_page: OpenPage, admin: Client) -> None:
    page = await open_page("/")
    await page.get_by_role("link", name="New job").click()
    await field(page, "Command").fill("""sh -c 'echo "hello  world"; echo $NAME'""")
    await expect(page.get_by_role("list", name="Arguments").get_by_role("listitem")).to_have_count(3)
    await field(page, "Environment variables").fill("NAME=value of a variable")
    await field(page, "Labels").fill("team=web")
    await field(page, "CPU limit").fill("1.5c")
    await field(page, "Memory limit").fill("64 MiB")
    await field(page, "Timeout").fill("5m")
    job = await created(page, admin)
    assert (job.command, list(job.args)) == ("sh", ["-c", 'echo "hello  world"; echo $NAME'])
    assert (job.max_cpu, job.max_memory, job.timeout.seconds) == (150, 64, 300)
    assert dict(job.labels) == {"team": "web"}
    await expect(log(page)).to_contain_text("hello  world")
    await expect(log(page)).to_contain_text("value of a variable")


async def test_an_error_is_beside_its_field(open_page: OpenPage) -> None:
    page = await open_page("/create")
    await field(page, "Command").fill("true")
    await field(page, "Memory limit").fill("much")
    await button(page, "Create job").click()
    await expect(field(page, "Memory limit")).to_be_focused()
    await expect(field(page, "Memory limit")).to_have_attribute("aria-invalid", "true")
    await expect(page).to_have_url(re.compile("/create$"))


async def test_an_error_of_the_server_is_beside_its_field(open_page: OpenPage, faults: Faults) -> None:
    faults.expect("status of 400")
    page = await open_page("/create")
    await field(page, "Command").fill("true")
    await field(page, "Stop signal").fill("SIGNONE")
    await button(page, "Create job").click()
    await expect(field(page, "Stop signal")).to_be_focused()
    await expect(page.get_by_text("SIGNONE").last).to_be_visible()


async def test_the_form_shows_the_same_job_as_a_command(open_page: OpenPage) -> None:
    page = await open_page("/create")
    await field(page, "Command").fill("make test")
    await page.get_by_text("The same job as a command").click()
    await expect(page.get_by_text("jobworker run --queue-timeout=1h make test")).to_be_visible()


async def test_clone_a_job(open_page: OpenPage, admin: Client) -> None:
    labels = {"team": "data"}
    job, _ = await admin.run("sh", "-c", "echo 'one  two'", labels=labels, max_memory=96, priority=3)
    page = await open_page(f"/jobs/{job.id}")
    await page.get_by_role("link", name="Clone").click()
    await expect(page.get_by_text("environment variables").first).to_be_visible()
    clone = await created(page, admin)
    same = ("command", "args", "labels", "max_memory", "max_cpu", "priority")
    assert [getattr(clone, name) for name in same] == [getattr(job, name) for name in same]
    assert clone.id != job.id


async def test_stop_a_job(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sleep", "600")
    page = await open_page(f"/jobs/{job.id}")
    await button(page, "Stop").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("sleep 600")
    await button(page, "Stop the job").click()
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Stopped")
    ended = await admin.ended(job.id)
    assert ended.status == job_pb2.JOB_STATUS_STOPPED


async def test_delete_a_job(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("true")
    page = await open_page(f"/jobs/{job.id}")
    await button(page, "Delete").click()
    await button(page, "Delete the job").click()
    await expect(page).to_have_url(re.compile(r"/$"))
    await expect(row(page, job.id)).to_have_count(0)
    listed = await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(id_prefix=job.id))
    assert not listed.jobs


async def test_stop_several_jobs(open_page: OpenPage, admin: Client) -> None:
    jobs = [await admin.create("sleep", "602") for _ in range(2)]
    page = await open_page("/?q=sleep+602")
    for job in jobs:
        await row(page, job.id).get_by_role("checkbox").check()
    await page.get_by_role("button", name=re.compile("^Stop")).last.click()
    await button(page, "Stop the jobs").click()
    for job in jobs:
        await expect(row(page, job.id)).to_contain_text("Stopped")
