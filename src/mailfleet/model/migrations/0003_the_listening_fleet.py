import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('model', '0002_hot_tables_keep_room_for_updates'),
    ]

    operations = [
        migrations.CreateModel(
            name='AlertTarget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.TextField(unique=True)),
                ('url', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('fault_text', models.TextField(db_default='')),
                ('fault_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'alert_target',
            },
        ),
        migrations.CreateModel(
            name='CountedLetter',
            fields=[
                ('message', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='model.message')),
                ('at', models.DateTimeField()),
                ('mailbox_id', models.BigIntegerField()),
                ('campaign_id', models.BigIntegerField()),
                ('list_id', models.BigIntegerField(db_default=0)),
                ('recipient_provider', models.TextField(db_default='')),
                ('bounced', models.BooleanField(db_default=False)),
                ('blocked', models.BooleanField(db_default=False)),
                ('complained', models.BooleanField(db_default=False)),
            ],
            options={
                'db_table': 'counted_letter',
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.TextField(choices=[('reply', 'reply'), ('auto_reply', 'auto_reply'), ('bounce', 'bounce'), ('complaint', 'complaint'), ('opt_out', 'opt_out'), ('other', 'other')])),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('is_hard', models.BooleanField(db_default=False)),
                ('reply_class', models.TextField(db_default='')),
                ('reply_scope', models.TextField(db_default='')),
                ('enhanced', models.TextField(db_default='')),
                ('text', models.TextField(db_default='')),
            ],
            options={
                'db_table': 'event',
            },
        ),
        migrations.CreateModel(
            name='Incident',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('family', models.TextField(choices=[('bounces', 'bounces'), ('policy', 'policy'), ('complaints', 'complaints'), ('silence', 'silence'), ('authentication', 'authentication'), ('rate_limit', 'rate_limit'), ('unreachable', 'unreachable'), ('dns', 'dns')])),
                ('scope_kind', models.TextField()),
                ('scope_key', models.TextField()),
                ('severity', models.IntegerField()),
                ('opened_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('closed_at', models.DateTimeField(null=True)),
                ('letters_a_day', models.IntegerField(db_default=0)),
                ('text', models.TextField()),
                ('told', models.IntegerField(null=True)),
                ('told_at', models.DateTimeField(null=True)),
                ('part_of_kind', models.TextField(null=True)),
                ('part_of_key', models.TextField(null=True)),
            ],
            options={
                'db_table': 'incident',
            },
        ),
        migrations.CreateModel(
            name='Incoming',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('folder', models.TextField(choices=[('inbox', 'inbox'), ('junk', 'junk')])),
                ('uid_validity', models.BigIntegerField()),
                ('uid', models.BigIntegerField()),
                ('digest', models.BinaryField()),
                ('header_id', models.TextField(db_default='')),
                ('sender_address', models.TextField(db_default='')),
                ('sender_name', models.TextField(db_default='')),
                ('subject', models.TextField(db_default='')),
                ('received_at', models.DateTimeField()),
                ('read_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('kind', models.TextField(choices=[('reply', 'reply'), ('auto_reply', 'auto_reply'), ('bounce', 'bounce'), ('complaint', 'complaint'), ('opt_out', 'opt_out'), ('other', 'other')])),
                ('matched_by', models.TextField(db_default='')),
                ('text', models.TextField(db_default='')),
                ('details', models.JSONField(db_default={})),
                ('question', models.TextField(db_default='')),
                ('decision', models.TextField(db_default='')),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.TextField(db_default='')),
            ],
            options={
                'db_table': 'incoming',
            },
        ),
        migrations.CreateModel(
            name='OauthGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('flow', models.TextField()),
                ('client_id', models.TextField()),
                ('token_url', models.TextField()),
                ('scope', models.TextField()),
                ('ca_file', models.TextField(db_default='')),
                ('credential', models.BinaryField()),
                ('expires_on', models.DateField(null=True)),
                ('connected_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('failures', models.IntegerField(db_default=0)),
                ('rest_until', models.DateTimeField(null=True)),
                ('fault_kind', models.TextField(null=True)),
                ('fault_text', models.TextField(db_default='')),
                ('fault_hint', models.TextField(db_default='')),
                ('fault_at', models.DateTimeField(null=True)),
                ('fault_until', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'oauth_grant',
            },
        ),
        migrations.CreateModel(
            name='OauthToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('access_token', models.BinaryField(null=True)),
                ('fetched_at', models.DateTimeField(null=True)),
                ('refresh_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('refresh_token', models.BinaryField(null=True)),
                ('claim', models.UUIDField(null=True)),
                ('claimed_until', models.DateTimeField(null=True)),
                ('fault_kind', models.TextField(null=True)),
                ('fault_text', models.TextField(db_default='')),
                ('fault_hint', models.TextField(db_default='')),
                ('fault_at', models.DateTimeField(null=True)),
                ('fault_until', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'oauth_token',
            },
        ),
        migrations.CreateModel(
            name='Reading',
            fields=[
                ('mailbox', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='model.mailbox')),
                ('fence', models.BigIntegerField(db_default=0)),
                ('expires_at', models.DateTimeField(null=True)),
                ('next_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('read_at', models.DateTimeField(null=True)),
                ('failing_since', models.DateTimeField(null=True)),
                ('failures', models.IntegerField(db_default=0)),
                ('fault_kind', models.TextField(db_default='')),
                ('fault_text', models.TextField(db_default='')),
                ('refused_secret', models.BinaryField(null=True)),
            ],
            options={
                'db_table': 'reading',
            },
        ),
        migrations.CreateModel(
            name='ReadingCursor',
            fields=[
                ('pk', models.CompositePrimaryKey('mailbox_id', 'folder', blank=True, editable=False, primary_key=True, serialize=False)),
                ('mailbox', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='model.mailbox')),
                ('folder', models.TextField(choices=[('inbox', 'inbox'), ('junk', 'junk')])),
                ('name', models.TextField()),
                ('uid_validity', models.BigIntegerField()),
                ('uid', models.BigIntegerField()),
            ],
            options={
                'db_table': 'reading_cursor',
            },
        ),
        migrations.CreateModel(
            name='RecipientDomain',
            fields=[
                ('name', models.TextField(primary_key=True, serialize=False)),
                ('provider', models.TextField(db_default='')),
                ('looked_up_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': 'recipient_domain',
            },
        ),
        migrations.CreateModel(
            name='SentCopy',
            fields=[
                ('message', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='model.message')),
                ('content', models.BinaryField()),
                ('sent_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tries', models.IntegerField(db_default=0)),
            ],
            options={
                'db_table': 'sent_copy',
            },
        ),
        migrations.CreateModel(
            name='Watcher',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('host', models.TextField()),
                ('pid', models.IntegerField()),
                ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('stopped_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'watcher',
            },
        ),
        migrations.RemoveConstraint(
            model_name='hold',
            name='hold_scope_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='sendinglimit',
            name='sending_limit_scope_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='suppression',
            name='suppression_kind_known',
        ),
        migrations.AddField(
            model_name='attempt',
            name='reply_scope',
            field=models.TextField(db_default=''),
        ),
        migrations.AddField(
            model_name='campaign',
            name='reply_stops',
            field=models.TextField(choices=[('contact', 'contact'), ('company', 'company')], db_default='contact'),
        ),
        migrations.AddField(
            model_name='contact',
            name='erased_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='domain',
            name='dkim_selectors',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), db_default=[], size=None),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_checked_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_failing_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_findings',
            field=models.JSONField(db_default=[]),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_listed',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_tried_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='domain',
            name='dns_verdict',
            field=models.TextField(db_default=''),
        ),
        migrations.AddField(
            model_name='enrollment',
            name='paused_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='hold',
            name='absorbed_into',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='model.hold'),
        ),
        migrations.AddField(
            model_name='hold',
            name='cause_key',
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name='hold',
            name='cause_kind',
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name='hold',
            name='family',
            field=models.TextField(choices=[('bounces', 'bounces'), ('policy', 'policy'), ('complaints', 'complaints'), ('silence', 'silence'), ('authentication', 'authentication'), ('rate_limit', 'rate_limit'), ('unreachable', 'unreachable'), ('dns', 'dns')], null=True),
        ),
        migrations.AddField(
            model_name='hold',
            name='strikes',
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='hold',
            name='trial_over_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='hold',
            name='trial_rung',
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='hold',
            name='trial_rung_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='suppression',
            name='evidence',
            field=models.JSONField(db_default={}),
        ),
        migrations.AlterField(
            model_name='hold',
            name='scope_kind',
            field=models.TextField(choices=[('mailbox', 'mailbox'), ('domain', 'domain'), ('account', 'account'), ('provider', 'provider'), ('identity', 'identity'), ('campaign', 'campaign'), ('recipient_domain', 'recipient_domain'), ('recipient_provider', 'recipient_provider'), ('sender_host', 'sender_host'), ('fleet', 'fleet')]),
        ),
        migrations.AlterField(
            model_name='sendinglimit',
            name='scope_kind',
            field=models.TextField(choices=[('mailbox', 'mailbox'), ('domain', 'domain'), ('account', 'account'), ('provider', 'provider'), ('identity', 'identity'), ('campaign', 'campaign'), ('recipient_domain', 'recipient_domain'), ('recipient_provider', 'recipient_provider'), ('sender_host', 'sender_host'), ('fleet', 'fleet')]),
        ),
        migrations.AlterField(
            model_name='suppression',
            name='kind',
            field=models.TextField(choices=[('address', 'address'), ('domain', 'domain'), ('company', 'company')]),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(django.db.models.functions.comparison.Least('lifted_at', 'until'), condition=models.Q(('family__isnull', False)), name='hold_ended'),
        ),
        migrations.AddConstraint(
            model_name='campaign',
            constraint=models.CheckConstraint(condition=models.Q(('reply_stops__in', ['contact', 'company'])), name='campaign_reply_stops_known'),
        ),
        migrations.AddConstraint(
            model_name='domain',
            constraint=models.CheckConstraint(condition=models.Q(('dns_verdict__in', ['', 'fine', 'warns', 'blocks'])), name='domain_dns_verdict_closed'),
        ),
        migrations.AddConstraint(
            model_name='domain',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('dns_failing_since__isnull', False), ('dns_verdict', 'blocks')), models.Q(models.Q(('dns_verdict', 'blocks'), _negated=True), ('dns_failing_since__isnull', True)), _connector='OR'), name='domain_dns_failing_since'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('scope_kind__in', ['mailbox', 'domain', 'account', 'provider', 'identity', 'campaign', 'recipient_domain', 'recipient_provider', 'sender_host', 'fleet'])), name='hold_scope_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('family__in', ['bounces', 'policy', 'complaints', 'silence', 'authentication', 'rate_limit', 'unreachable', 'dns'])), name='hold_family_known'),
        ),
        migrations.AddConstraint(
            model_name='sendinglimit',
            constraint=models.CheckConstraint(condition=models.Q(('scope_kind__in', ['mailbox', 'domain', 'account', 'provider', 'identity', 'campaign', 'recipient_domain', 'recipient_provider', 'sender_host', 'fleet'])), name='sending_limit_scope_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='suppression',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['address', 'domain', 'company'])), name='suppression_kind_known'),
        ),
        migrations.AddIndex(
            model_name='countedletter',
            index=models.Index(fields=['at'], name='counted_letter_at'),
        ),
        migrations.AddField(
            model_name='event',
            name='campaign',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='model.campaign'),
        ),
        migrations.AddField(
            model_name='event',
            name='contact',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='model.contact'),
        ),
        migrations.AddField(
            model_name='event',
            name='mailbox',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='model.mailbox'),
        ),
        migrations.AddField(
            model_name='event',
            name='message',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='model.message'),
        ),
        migrations.AddIndex(
            model_name='incident',
            index=models.Index(fields=['-opened_at'], name='incident_latest'),
        ),
        migrations.AddConstraint(
            model_name='incident',
            constraint=models.CheckConstraint(condition=models.Q(('family__in', ['bounces', 'policy', 'complaints', 'silence', 'authentication', 'rate_limit', 'unreachable', 'dns'])), name='incident_family_known'),
        ),
        migrations.AddConstraint(
            model_name='incident',
            constraint=models.UniqueConstraint(condition=models.Q(('closed_at__isnull', True)), fields=('family', 'scope_kind', 'scope_key'), name='incident_one_a_cause'),
        ),
        migrations.AddField(
            model_name='incoming',
            name='contact',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to='model.contact'),
        ),
        migrations.AddField(
            model_name='incoming',
            name='mailbox',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='model.mailbox'),
        ),
        migrations.AddField(
            model_name='incoming',
            name='message',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to='model.message'),
        ),
        migrations.AddField(
            model_name='event',
            name='incoming',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to='model.incoming'),
        ),
        migrations.AddField(
            model_name='oauthgrant',
            name='account',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='model.account'),
        ),
        migrations.AddField(
            model_name='oauthtoken',
            name='grant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='model.oauthgrant'),
        ),
        migrations.AddField(
            model_name='oauthtoken',
            name='mailbox',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to='model.mailbox'),
        ),
        migrations.AddIndex(
            model_name='recipientdomain',
            index=models.Index(fields=['looked_up_at'], name='recipient_domain_looked_up'),
        ),
        migrations.AddField(
            model_name='sentcopy',
            name='mailbox',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='model.mailbox'),
        ),
        migrations.AddField(
            model_name='reading',
            name='watcher',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='model.watcher'),
        ),
        migrations.AddIndex(
            model_name='incoming',
            index=models.Index(condition=models.Q(('decided_at__isnull', True), ('message__isnull', True)), fields=['read_at'], name='incoming_unmatched'),
        ),
        migrations.AddIndex(
            model_name='incoming',
            index=models.Index(condition=models.Q(('decided_at__isnull', True), models.Q(('question', ''), _negated=True)), fields=['read_at'], name='incoming_asked'),
        ),
        migrations.AddIndex(
            model_name='incoming',
            index=models.Index(condition=models.Q(('kind', 'reply')), fields=['-id'], name='incoming_replies'),
        ),
        migrations.AddConstraint(
            model_name='incoming',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['reply', 'auto_reply', 'bounce', 'complaint', 'opt_out', 'other'])), name='incoming_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='incoming',
            constraint=models.CheckConstraint(condition=models.Q(('folder__in', ['inbox', 'junk'])), name='incoming_folder_known'),
        ),
        migrations.AddConstraint(
            model_name='incoming',
            constraint=models.UniqueConstraint(fields=('mailbox', 'digest'), name='incoming_once'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['at'], name='event_at'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['reply', 'auto_reply', 'bounce', 'complaint', 'opt_out', 'other'])), name='event_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(fields=('message', 'kind', 'incoming'), name='event_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='oauthgrant',
            constraint=models.UniqueConstraint(fields=('account',), name='oauth_grant_one_per_account'),
        ),
        migrations.AddConstraint(
            model_name='oauthgrant',
            constraint=models.CheckConstraint(condition=models.Q(('flow__in', ['service_account', 'client_credentials', 'consent'])), name='oauth_grant_flow_closed'),
        ),
        migrations.AddConstraint(
            model_name='oauthgrant',
            constraint=models.CheckConstraint(condition=models.Q(('failures__gte', 0)), name='oauth_grant_failures_positive'),
        ),
        migrations.AddConstraint(
            model_name='oauthgrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('fault_at__isnull', True), ('fault_kind__isnull', True), ('fault_until__isnull', True)), models.Q(('fault_at__isnull', False), ('fault_kind__isnull', False), ('fault_until__isnull', False)), _connector='OR'), name='oauth_grant_fault_whole'),
        ),
        migrations.AddIndex(
            model_name='oauthtoken',
            index=models.Index(condition=models.Q(('claim__isnull', False)), fields=['grant'], name='oauth_token_claimed'),
        ),
        migrations.AddConstraint(
            model_name='oauthtoken',
            constraint=models.UniqueConstraint(fields=('grant', 'mailbox'), name='oauth_token_one_per_mailbox', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='oauthtoken',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('access_token__isnull', True), ('expires_at__isnull', True), ('fetched_at__isnull', True), ('refresh_at__isnull', True)), models.Q(('access_token__isnull', False), ('expires_at__isnull', False), ('fetched_at__isnull', False), ('refresh_at__isnull', False)), _connector='OR'), name='oauth_token_access_whole'),
        ),
        migrations.AddConstraint(
            model_name='oauthtoken',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('claim__isnull', True), ('claimed_until__isnull', True)), models.Q(('claim__isnull', False), ('claimed_until__isnull', False)), _connector='OR'), name='oauth_token_claim_whole'),
        ),
        migrations.AddConstraint(
            model_name='oauthtoken',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('fault_at__isnull', True), ('fault_kind__isnull', True), ('fault_until__isnull', True)), models.Q(('fault_at__isnull', False), ('fault_kind__isnull', False), ('fault_until__isnull', False)), _connector='OR'), name='oauth_token_fault_whole'),
        ),
        migrations.AddConstraint(
            model_name='readingcursor',
            constraint=models.CheckConstraint(condition=models.Q(('folder__in', ['inbox', 'junk'])), name='reading_cursor_folder_known'),
        ),
        migrations.AddIndex(
            model_name='reading',
            index=models.Index(fields=['next_at'], name='reading_due'),
        ),
        migrations.AddIndex(
            model_name='reading',
            index=models.Index(condition=models.Q(('watcher__isnull', False)), fields=['watcher'], name='reading_of_watcher'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('expires_at__isnull', True), ('watcher__isnull', True)), models.Q(('expires_at__isnull', False), ('watcher__isnull', False)), _connector='OR'), name='reading_held_until'),
        ),
    ]
